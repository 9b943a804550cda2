"""The lines below the first line of a node. Several properties of the JSON form may be one line."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from db.workbench.plans.text_form.formats import actual, counts, number_or_zero
from db.workbench.plans.text_form.node_name import target

Properties: TypeAlias = dict[str, Any]
Line: TypeAlias = tuple[int, str]
"""How much deeper it is indented, and its text."""

_IN_FIRST_LINE = frozenset(
    (
        *("Node Type", "Strategy", "Partial Mode", "Operation", "Parent Relationship"),
        *("Subplan Name", "Parallel Aware", "Async Capable", "Join Type", "Scan Direction"),
        *("Index Name", "Relation Name", "Schema", "Alias", "Function Name", "CTE Name"),
        *("Table Function Name", "Tuplestore Name", "Command", "Custom Plan Provider"),
        *("Startup Cost", "Total Cost", "Plan Rows", "Plan Width"),
        *("Actual Startup Time", "Actual Total Time", "Actual Rows", "Actual Loops"),
        *("Plans", "Worker Number"),
    )
)
_IF_POSITIVE = ("Rows Removed by ", "Subplans Removed")


def property_lines(node: Properties) -> Iterator[Line]:
    """The lines in the order of the JSON form, which is that of the text form."""
    used: set[str] = set(_IN_FIRST_LINE)
    for key, value in node.items():
        if key in used:
            continue
        group = next((group for group in _GROUPS if key in group.keys and group.fits(node)), None)
        if group is not None:
            used |= group.keys
            yield from group.lines(node)
        elif (text := _line(key, value)) is not None:
            yield 0, text


def _line(key: str, value: object) -> str | None:
    match value:
        case bool():
            return f"{key}: true" if value else None
        case int() | float() if not value and key.startswith(_IF_POSITIVE):
            return None
        case list():
            return f"{key}: {', '.join(map(str, value))}"
        case dict():
            return None
    return f"{key}: {value}"


class _Group:
    """Properties that are shown together."""

    def __init__(
        self,
        *keys: str,
        lines: Callable[[Properties], Iterator[Line]],
        fits: Callable[[Properties], bool] = lambda _: True,
    ) -> None:
        self.keys = frozenset(keys)
        self.lines = lines
        self.fits = fits


def _sort(node: Properties) -> Iterator[Line]:
    method, space = node.get("Sort Method"), number_or_zero(node, "Sort Space Used")
    yield 0, f"Sort Method: {method}  {node.get('Sort Space Type')}: {space:.0f}kB"


def _incremental_sort(node: Properties) -> Iterator[Line]:
    for key in ("Full-sort Groups", "Pre-sorted Groups"):
        if not isinstance(group := node.get(key), dict):
            continue
        methods = [str(method) for method in group.get("Sort Methods Used", [])]
        label = "Sort Methods" if len(methods) > 1 else "Sort Method"
        count = number_or_zero(group, "Group Count")
        text = f"{key}: {count:.0f}  {label}: {', '.join(methods)}"
        for space in ("Memory", "Disk"):
            if isinstance(used := group.get(f"Sort Space {space}"), dict):
                average, peak = (
                    number_or_zero(used, f"{of} Sort Space Used") for of in ("Average", "Peak")
                )
                text += f"  Average {space}: {average:.0f}kB  Peak {space}: {peak:.0f}kB"
        yield 0, text


def _hash(node: Properties) -> Iterator[Line]:
    shown = []
    buckets, batches = (
        (number_or_zero(node, f"Hash {name}"), number_or_zero(node, f"Original Hash {name}"))
        for name in ("Buckets", "Batches")
    )
    is_changed = buckets[0] != buckets[1] or batches[0] != batches[1]
    for name, (now, before) in (("Buckets", buckets), ("Batches", batches)):
        shown.append(f"{name}: {now:.0f}" + (f" (originally {before:.0f})" if is_changed else ""))
    yield 0, "  ".join([*shown, f"Memory Usage: {number_or_zero(node, 'Peak Memory Usage'):.0f}kB"])


def _aggregate(node: Properties) -> Iterator[Line]:
    shown = []
    if planned := number_or_zero(node, "Planned Partitions"):
        shown.append(f"Planned Partitions: {planned:.0f}")
    if peak := number_or_zero(node, "Peak Memory Usage"):
        batches = number_or_zero(node, "HashAgg Batches")
        shown.append(f"Batches: {batches:.0f}  Memory Usage: {peak:.0f}kB")
        if batches > 1:
            shown.append(f"Disk Usage: {number_or_zero(node, 'Disk Usage'):.0f}kB")
    if shown:
        yield 0, "  ".join(shown)


def _memoize(node: Properties) -> Iterator[Line]:
    if number_or_zero(node, "Cache Misses"):
        hits = [
            f"{name}: {number_or_zero(node, f'Cache {name}'):.0f}"
            for name in ("Hits", "Misses", "Evictions", "Overflows")
        ]
        yield (
            0,
            "  ".join([*hits, f"Memory Usage: {number_or_zero(node, 'Peak Memory Usage'):.0f}kB"]),
        )


def _heap_blocks(node: Properties) -> Iterator[Line]:
    if blocks := counts(node, exact="Exact Heap Blocks", lossy="Lossy Heap Blocks"):
        yield 0, f"Heap Blocks:{blocks}"


def _storage(node: Properties) -> Iterator[Line]:
    most = number_or_zero(node, "Maximum Storage")
    yield 0, f"Storage: {node.get('Storage')}  Maximum Storage: {most:.0f}kB"


def _sampling(node: Properties) -> Iterator[Line]:
    parameters = ", ".join(map(str, node.get("Sampling Parameters", [])))
    repeatable = f" REPEATABLE ({node['Repeatable Seed']})" if "Repeatable Seed" in node else ""
    yield 0, f"Sampling: {node.get('Sampling Method')} ({parameters}){repeatable}"


def _merged(node: Properties) -> Iterator[Line]:
    names = ("inserted", "updated", "deleted", "skipped")
    if tuples := counts(node, **{name: f"Tuples {name.title()}" for name in names}):
        yield 0, f"Tuples:{tuples}"


def _target_tables(node: Properties) -> Iterator[Line]:
    for table in node.get("Target Tables", []):
        yield 0, f"{node.get('Operation')}{target(table)}"
        for depth, line in property_lines(table):
            yield depth + 1, line


def _grouping_sets(node: Properties) -> Iterator[Line]:
    for grouping in node.get("Grouping Sets", []):
        depth = 0
        if sort_keys := grouping.get("Sort Key"):
            yield 0, f"Sort Key: {', '.join(map(str, sort_keys))}"
            depth = 1
        for name in ("Group Key", "Hash Key"):
            for keys in grouping.get(f"{name}s", []):
                yield depth, f"{name}: {', '.join(map(str, keys)) or '()'}"


def buffer_lines(node: Properties) -> Iterator[Line]:
    kinds = []
    for kind in ("shared", "local", "temp"):
        names = ("hit", "read", "dirtied", "written")
        keys = {name: f"{kind.title()} {name.title()} Blocks" for name in names}
        if blocks := counts(node, **keys):
            kinds.append(f"{kind}{blocks}")
    if kinds:
        yield 0, f"Buffers: {', '.join(kinds)}"


def _io_timings(node: Properties) -> Iterator[Line]:
    kinds = []
    for label, prefix in _IO_KINDS.items():
        times = [
            (way, number_or_zero(node, f"{prefix}I/O {way.title()} Time"))
            for way in ("read", "write")
        ]
        if shown := "".join(f" {way}={ms:.3f}" for way, ms in times if ms > 0):
            kinds.append(f"{label}{shown}")
    if kinds:
        yield 0, f"I/O Timings: {', '.join(kinds)}"


def _wal(node: Properties) -> Iterator[Line]:
    keys = {"records": "WAL Records", "fpi": "WAL FPI", "bytes": "WAL Bytes"}
    if wal := counts(node, **keys, buffers_full="WAL Buffers Full"):
        yield 0, f"WAL:{wal}"


def _workers(node: Properties) -> Iterator[Line]:
    for worker in node.get("Workers", []):
        lines = list(property_lines(worker))
        if number_or_zero(worker, "Actual Loops"):
            lines.insert(0, (0, actual(worker)))
        head = f"Worker {number_or_zero(worker, 'Worker Number'):.0f}:  "
        for index, (depth, line) in enumerate(lines):
            yield (depth + 1, line) if index else (0, head + line)


def _jit(node: Properties) -> Iterator[Line]:
    jit = node.get("JIT", {})
    options, timing = jit.get("Options", {}), jit.get("Timing", {})
    yield 0, "JIT:"
    yield 1, f"Functions: {number_or_zero(jit, 'Functions'):.0f}"
    shown = ", ".join(f"{name} {str(value).lower()}" for name, value in options.items())
    yield 1, f"Options: {shown}"
    times = []
    for name, value in timing.items():
        if isinstance(value, dict):
            deform = number_or_zero(value, "Deform")
            times.append(f"{name} {number_or_zero(value, 'Total'):.3f} ms (Deform {deform:.3f} ms)")
        else:
            times.append(f"{name} {number_or_zero(timing, name):.3f} ms")
    yield 1, f"Timing: {', '.join(times)}"


_IO_KINDS = {"shared/local": "", "shared": "Shared ", "local": "Local ", "temp": "Temp "}
_GROUPS = (
    _Group("Sort Method", "Sort Space Used", "Sort Space Type", lines=_sort),
    _Group("Full-sort Groups", "Pre-sorted Groups", lines=_incremental_sort),
    _Group(
        *("Hash Buckets", "Original Hash Buckets", "Hash Batches", "Original Hash Batches"),
        "Peak Memory Usage",
        lines=_hash,
        fits=lambda node: "Hash Buckets" in node,
    ),
    _Group(
        *("Cache Hits", "Cache Misses", "Cache Evictions", "Cache Overflows", "Peak Memory Usage"),
        lines=_memoize,
        fits=lambda node: "Cache Hits" in node,
    ),
    _Group(
        *("Planned Partitions", "HashAgg Batches", "Peak Memory Usage", "Disk Usage"),
        lines=_aggregate,
    ),
    _Group("Exact Heap Blocks", "Lossy Heap Blocks", lines=_heap_blocks),
    _Group("Storage", "Maximum Storage", lines=_storage),
    _Group("Sampling Method", "Sampling Parameters", "Repeatable Seed", lines=_sampling),
    _Group(
        *("Tuples Inserted", "Tuples Updated", "Tuples Deleted", "Tuples Skipped"),
        lines=_merged,
        fits=lambda node: node.get("Operation") == "Merge",
    ),
    _Group("Target Tables", lines=_target_tables),
    _Group("Grouping Sets", lines=_grouping_sets),
    _Group(
        *(
            f"{kind} {what} Blocks"
            for kind in ("Shared", "Local", "Temp")
            for what in ("Hit", "Read", "Dirtied", "Written")
        ),
        lines=buffer_lines,
    ),
    _Group(
        *(f"{kind}I/O {way} Time" for kind in _IO_KINDS.values() for way in ("Read", "Write")),
        lines=_io_timings,
    ),
    _Group("WAL Records", "WAL FPI", "WAL Bytes", "WAL Buffers Full", lines=_wal),
    _Group("Workers", lines=_workers),
    _Group("JIT", lines=_jit),
)
