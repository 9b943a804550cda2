"""Writes measured figures into pages, between markers: `python -m bench.pages`.

<!-- bench: name --> and <!-- end of bench --> enclose what is written from bench/figures. A test
compares the pages and plots with the figures, so that nothing is copied by hand.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench import figures, peers, plots, scaling, sizing
from bench.clients import Measured
from bench.figures import Ablation, Bench, Growth, Result, Spread, Start

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/performance.md", "docs/deployment.md", "docs/scale.md")
IMAGES = "docs/images"
WITH_GOALS = (peers.LIMIT, peers.POSTGRAPHILE)
OTHERS = (peers.LIMIT, peers.GATHERING_LIMIT, peers.POSTGRAPHILE, peers.STOCK)

ABOUT_MEDIANS = (
    "Requests per second, and in milliseconds: response times, and CPU time of the server and of "
    "all processes of PostgreSQL for each request:"
)
ABOUT_ABLATION = (
    "The first row has requests per second and the server's CPU milliseconds for each. The others "
    "have the rate without a part relative to that with all parts in the same rounds, and the CPU "
    "milliseconds without it."
)

_BLOCK = re.compile(
    r"(?P<begin><!-- bench: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end of bench -->)", re.DOTALL
)


def update() -> None:
    for name, text in rendered().items():
        (ROOT / name).write_text(text, encoding="utf-8")


def rendered() -> dict[str, str]:
    """All files that are made from figures, with their text."""
    bench = figures.read("bench", Bench)
    ablation = figures.read("ablation", Ablation)
    growth = figures.read("growth", Growth)
    start = figures.read("start", Start)
    blocks: dict[str, Callable[[], str]] = {
        "summary": lambda: summary_block(bench),
        "figures": lambda: bench_block(bench),
        "ablation": lambda: ablation_block(ablation),
        "growth": lambda: growth_block(growth),
        "start": lambda: start_block(start),
        "sizes": lambda: sizes_block(bench, start),
        "scale": lambda: scale_block(bench),
    }
    texts = {
        name: _BLOCK.sub(
            lambda found: f"{found['begin']}{blocks[found['name']]()}\n{found['end']}",
            (ROOT / name).read_text(encoding="utf-8"),
        )
        for name in PAGES
    }
    return texts | {f"{IMAGES}/{name}.svg": text for name, text in plots.of(growth).items()}


def summary_block(bench: Bench) -> str:
    """Howdah relative to each other server, for README."""
    shown = (peers.POSTGRAPHILE, peers.STOCK, peers.LIMIT)
    rows = [
        (title(result), result.connections, *(relative(result, other) for other in shown))
        for result in bench.near
    ]
    return table(("operation", "clients", *(f"relative to {one}" for one in named(shown))), rows)


def bench_block(bench: Bench) -> str:
    return "\n\n".join(
        (
            measured_on(bench.machine, bench.rounds, bench.seconds),
            "Requests per second of Howdah relative to the other servers, and the goals:",
            ratios_table(bench.near),
            losses(bench),
            ABOUT_MEDIANS,
            medians_table(bench.near),
            f"With the database {bench.far_ms:g} ms away:",
            medians_table(bench.far),
        )
    )


def ratios_table(results: Sequence[Result]) -> str:
    """The goal of a ratio follows it."""

    def cells(result: Result) -> Iterator[str]:
        for other in OTHERS:
            yield relative(result, other)
            if other in result.goals:
                yield f"{result.goals[other]:g}"

    heads = [head for one in OTHERS for head in ([one, "goal"] if one in WITH_GOALS else [one])]
    rows = [(title(result), result.connections, *cells(result)) for result in results]
    return table(("operation", "clients", *heads), rows)


def losses(bench: Bench) -> str:
    if not bench.missed:
        return "All goals are met."
    return "**Where Howdah loses** (goals that are not met):\n\n" + "\n".join(
        f"- {title(result)}, {clients(result.connections)}: {'; '.join(result.missed)}"
        for result in bench.near
        if result.missed
    )


def medians_table(results: Sequence[Result]) -> str:
    rows = [
        (title(result), result.connections, name, *times(of))
        for result in results
        for name, of in result.medians.items()
    ]
    heads = ("req/s", "p50", "p99", "CPU", "CPU of PostgreSQL")
    return table(("operation", "clients", "server", *heads), rows)


def times(of: Measured) -> tuple[str, ...]:
    return (
        f"{of.per_s:,.0f}" if of.per_s >= 10 else f"{of.per_s:.1f}",
        *(f"{time:.1f}" for time in (of.p50_ms, of.p99_ms)),
        *(f"{time:.3f}" if time < 10 else f"{time:.1f}" for time in of[3:]),
    )


def ablation_block(ablation: Ablation) -> str:
    cases = [f"{upper(name)}, {clients(count)}" for name, count in ablation.cases]
    whole = ("**all parts**", *(f"{of.per_s:,.0f} · {of.cpu_ms:.3f}" for of in ablation.whole))
    rows = [
        (
            part,
            *(
                f"{share:.2f} · {of.cpu_ms:.3f}"
                for share, of in zip(ablation.ratios[part], ablation.without[part], strict=True)
            ),
        )
        for part in ablation.without
    ]
    return "\n\n".join(
        (
            measured_on(ablation.machine, ablation.rounds, ablation.seconds),
            ABOUT_ABLATION,
            table(("without", *cases), [whole, *rows]),
        )
    )


def growth_block(growth: Growth) -> str:
    images = (f"![{plot.title}](images/{name}.svg)" for name, plot in plots.PLOTS.items())
    return "\n\n".join((measured_on(growth.machine, growth.rounds, growth.seconds), *images))


def start_block(start: Start) -> str:
    def row(name: str, of: Spread, goal: str, digits: int = 2) -> tuple[str, ...]:
        return name, *(f"{value:.{digits}f}" for value in of), goal

    first = row("first answer, s", start.first_answer_s, f"{figures.FIRST_ANSWER_GOAL_S:g}")
    rows = [
        first,
        row("CPU time of the server until then, s", start.cpu_s, ""),
        row("memory of the idle server, MB", start.idle_mb, f"{figures.IDLE_GOAL_MB}", 0),
    ]
    lines = [*start.machine, f"{start.runs} starts, the database running"]
    heads = ("", "median", "best", "worst", "goal: less than")
    return "\n\n".join(("\n".join(f"- {line}" for line in lines), table(heads, rows)))


def sizes_block(bench: Bench, start: Start) -> str:
    lines = "\n".join(f"- {line}" for line in sizing.derivation(bench, start))
    return "\n\n".join((table(sizing.HEADS, sizing.rows(bench, start)), lines))


def scale_block(bench: Bench) -> str:
    lines = "\n".join(f"- {line}" for line in scaling.derivation(bench))
    load, data = scaling.load(bench), scaling.data(bench)
    return "\n\n".join((lines, table(scaling.LOAD_HEADS, load), table(scaling.DATA_HEADS, data)))


def measured_on(machine: Iterable[str], rounds: int, seconds: float) -> str:
    lines = [*machine, f"interleaved rounds, {seconds:g} s each; medians of {rounds}"]
    return "\n".join(f"- {line}" for line in lines)


def relative(result: Result, other: str) -> str:
    if other not in result.ratios:
        return ""
    ratio = result.ratios[other]
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def named(others: Iterable[str]) -> list[str]:
    return [f"the {one}" if one.startswith("limit") else one for one in others]


def title(result: Result) -> str:
    return upper(result.name)


def upper(name: str) -> str:
    """The name of a case in prose; the number of clients stands beside it."""
    return name.removesuffix(", alone").replace("by id", "by ID")


def clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    update()
