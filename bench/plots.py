"""Line plots as SVG, from figures: a plot needs no library."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from bench import peers
from bench.clients import Measured
from bench.figures import Growth

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 40, 50
COLOURS = {
    peers.HOWDAH: "#d1495b",
    peers.LIMIT: "#555555",
    peers.GATHERING_LIMIT: "#9a9a9a",
    peers.POSTGRAPHILE: "#2e6f95",
    peers.STOCK: "#4c956c",
}

Points = Mapping[str, Mapping[int, Measured]]


class Plot(NamedTuple):
    """What one plot shows, by server. Both axes are logarithmic: a straight line is a power."""

    title: str
    across: str
    points: Callable[[Growth], Points]
    value: Callable[[Measured], float]


PLOTS = {
    "growth-clients": Plot(
        "Requests per second: one task by ID, 1 to 1,000 clients",
        "clients",
        lambda growth: growth.clients,
        lambda of: of.per_s,
    ),
    "growth-rows": Plot(
        "Milliseconds of CPU of the server for a page of 1 to 10,000 tasks",
        "rows",
        lambda growth: growth.rows,
        lambda of: of.cpu_ms,
    ),
    "growth-fields": Plot(
        "Milliseconds of CPU of the server for 100 tasks with 1 to 32 fields",
        "fields of each task",
        lambda growth: growth.fields,
        lambda of: of.cpu_ms,
    ),
}


def of(growth: Growth) -> dict[str, str]:
    """The text of each plot by its name."""
    return {name: draw(plot, growth) for name, plot in PLOTS.items()}


def draw(plot: Plot, growth: Growth) -> str:
    lines = {
        name: {number: plot.value(measured) for number, measured in points.items()}
        for name, points in plot.points(growth).items()
    }
    across = [number for points in lines.values() for number in points]
    up = [value for points in lines.values() for value in points.values()]
    x = _Axis(min(across), max(across), LEFT, WIDTH - RIGHT)
    y = _Axis(min(up), max(up), HEIGHT - BOTTOM, TOP)
    parts = [
        _text(LEFT, 22, plot.title, "font-weight='bold'"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, plot.across, "text-anchor='middle'"),
        *_grid(x, y, sorted(set(across))),
        *(part for name, points in lines.items() for part in _line(x, y, COLOURS[name], points)),
        *_legend(lines),
    ]
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        "font-family='sans-serif' font-size='12' role='img'>"
    )
    title = f"<title>{escape(plot.title)}</title>"
    ground = f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>"
    return "\n".join((head, title, ground, *parts, "</svg>")) + "\n"


class _Axis:
    """A logarithmic axis between two pixels."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = low, high
        self._first = first
        self._scale = (last - first) / math.log(high / low)

    def at(self, value: float) -> float:
        return self._first + self._scale * math.log(value / self.low)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each power of ten between the ends."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (step * 10.0**power for power in powers for step in (1, 2, 5))
        return [value for value in values if self.low <= value <= self.high]


def _grid(x: _Axis, y: _Axis, across: Sequence[int]) -> Iterable[str]:
    for value in y.ticks():
        at = y.at(value)
        yield _segment(LEFT, at, WIDTH - RIGHT, at, "#dddddd")
        yield _text(LEFT - 8, at + 4, f"{value:,g}", "text-anchor='end'")
    for number in across:
        at = x.at(number)
        yield _segment(at, TOP, at, HEIGHT - BOTTOM, "#eeeeee")
        yield _text(at, HEIGHT - BOTTOM + 18, f"{number:,}", "text-anchor='middle'")


def _line(x: _Axis, y: _Axis, colour: str, points: Mapping[int, float]) -> Iterable[str]:
    places = [(x.at(number), y.at(value)) for number, value in sorted(points.items())]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    yield f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"
    for across, up in places:
        yield f"<circle cx='{across:.1f}' cy='{up:.1f}' r='3' fill='{colour}'/>"


def _legend(lines: Mapping[str, Mapping[int, float]]) -> Iterable[str]:
    """In the order in which the lines end."""
    ends = {name: points[max(points)] for name, points in lines.items()}
    for row, name in enumerate(sorted(ends, key=ends.__getitem__, reverse=True)):
        at, left = TOP + 14 + 22 * row, WIDTH - RIGHT + 16
        yield _segment(left, at - 4, left + 20, at - 4, COLOURS[name], width=3)
        yield _text(left + 28, at, name)


def _segment(
    left: float, top: float, right: float, bottom: float, colour: str, width: int = 1
) -> str:
    return (
        f"<line x1='{left:.1f}' y1='{top:.1f}' x2='{right:.1f}' y2='{bottom:.1f}' "
        f"stroke='{colour}' stroke-width='{width}'/>"
    )


def _text(left: float, top: float, text: str, more: str = "") -> str:
    return f"<text x='{left:.1f}' y='{top:.1f}' fill='#222222' {more}>{escape(text)}</text>"
