"""docs/limits.md has every limit, with the figures of the code.

A row names where its figures come from: a setting in the column of settings, or constants in a
comment. `production.` stands for the settings of a production server.
"""

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
from msgspec import inspect

from db.connections.rules import Exact
from db.database_sessions import CloseReason
from db.errors import HowdahError
from db.kit.text_rules import Optional, Required
from db.settings import PREFIX, Settings
from db.users.attempt_counts import Limit

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "limits.md"

NO_LIMITS = {
    "port": "an address",
    "hsts_seconds": "what browsers are told",
    "operation_log_every": "how many operations are not logged",
}
"""Whole numbers among the settings that limit nothing, with the reason."""

INTERNAL = {
    "db.backup": "files that Howdah has written itself",
    "db.events": "messages between the replicas, which split them",
    "db.audit.repository.request_id_rule": "no request ID is longer",
    "db.kit.audit.actor": "addresses are shorter",
    "db.kit.row_quota": "how many rows are counted at once, and the size of a cache",
    "db.postgres.monitoring.slow_statements.MAX_EXPLAINED": "the size of a cache",
    "db.postgres.pulse.LONGEST_PROBE_S": "a probe of Howdah's own database",
    "db.kit.idempotency.MAX_TEXT_GRANT": "how many bytes are counted at once",
    "db.quotas.MAX_TEXT_GRANT": "how many bytes are counted at once",
    "db.kit.lists.long_texts.READS_AT_ONCE": "the order of reading, not what is read",
    "db.objects.store": "what object stores accept",
    "db.workbench.copy.json_lines.MAX_DEPTH": "deeper values cannot be decoded",
    "graph.runs.script_fields.CHARACTERS_AT_ONCE": "how much is done without a pause",
    "db.settings.files": "the operator's own files",
    "db.settings.checks": "the length of a quotation in an error",
    "db.storage.chunked_uploads.MAX_CHUNKS": "the parts of a file; larger files have larger parts",
    "db.storage.rules.MAX_BIGINT": "a range of numbers",
    "db.system.integrity": "findings of a check; the others are alike",
    "db.users.sign_in_sessions._MAX_DEVICE_LENGTH": "the rest of the header is not stored",
    "db.users.cost_allowance.MAX_USERS": "the size of a cache",
    "db.users.tokens.verification_cache": "the size of a cache",
    "db.workbench.catalogue.reader._MAX_BIGINT": "a range of numbers",
    "db.workbench.catalogue.run_changes": "the size of a cache",
    "db.workbench.completion.expectations.commands": "words that are compared with patterns",
    "db.workbench.completion.statement.queries": "joins in joins, deeper than any",
    "db.workbench.connections.libpq.MAX_STARTED_CHARS": "no timestamp is longer",
    "db.workbench.connections.bounds.bounded_connection.MAX_ENCODING_BYTES": "no name is longer",
    "db.workbench.connections.targets.network_policy": "addresses of a host that are tried",
    "db.workbench.execution.reading.protocol.MAX_COUNT": "a range of numbers",
    "db.workbench.execution.reading.protocol.MAX_LABEL_CHARS": "no severity is longer",
    "db.workbench.execution.reading.protocol.MAX_POSITION_DIGITS": "no statement is longer",
    "db.workbench.execution.submission.MAX_TEXT_GRANT": "how many bytes are counted at once",
    "db.workbench.scripts.service.MAX_TEXT_GRANT": "how many bytes are counted at once",
    "db.row_scans.sort_keys.MAX_EXPONENT": "no numeric is larger",
    "db.workbench.results.parquet": "the parts of a file",
    "db.workbench.results.result_store.READS_AT_ONCE": "the order of reading, not what is read",
    "db.workbench.results.scans.scan_requests.MAX_NAMES": "names in an error",
    "graph.commands": "lines that a worker writes to its parent",
    "graph.connections.loaders": "the order of reading, not what is read",
    "graph.errors": "errors are shortened",
    "graph.executor.inputs.variables": "errors in variables are summed up",
    "graph.kit.ids": "no ID that Howdah makes is longer",
    "graph.kit.loaded_rows.MAX_ROWS_AT_ONCE": "lists are read by several statements",
    "graph.kit.scalars": "a range of numbers",
    "graph.operations.plans": "errors in documents are summed up",
    "graph.storage.resolvers": "the order of removing bytes",
    "graph.tasks.changes.MAX_IDS_PER_EVENT": "events are divided",
    "graph.tasks.changes.MAX_REMEMBERED": "the size of a cache",
    "graph.transport.http.accept": "the rest of the header is ignored",
}
"""Modules and constants of limits that no client meets, with the reason."""

_IS_LIMIT = re.compile(r"_?(MAX|LONGEST|SHORTEST|MOST)(_|$)|\w*(_LIMIT|_LIMITS|AT_ONCE)$").match
_RULES = (Required, Optional, Exact, Limit)


class Row(NamedTuple):
    name: str
    default: str
    setting: str
    error: str
    sources: list[str]


def rows(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith(("| limit |", "|---")):
            continue
        comment = re.search(r"<!-- (.*?) -->", line)
        name, default, setting, error, _ = [cell.strip() for cell in line.split("|")[1:-1]]
        yield Row(name, default, setting.strip("`"), error, comment[1].split() if comment else [])


ROWS = list(rows(PAGE.read_text(encoding="utf-8")))


def value_of(source: str) -> Any:
    """The value of a constant, of a default of a class, or of a setting in production."""
    if source.startswith("production."):
        return getattr(Settings(env="production"), source.partition(".")[2])
    parts = source.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found() if isinstance(found, type) else found, name)
        return found
    raise AssertionError(f"{source} is in no module")


def figures(value: Any, name: str) -> Iterator[set[str]]:
    """The figures of a value, each in all the ways to write it; the name may end in a unit."""
    if isinstance(value, Limit):
        yield from figures(value[0], "")
        yield from figures(value[1], "")
    elif isinstance(value, Required | Optional | Exact):
        yield from figures(value.max_length, "")
    elif isinstance(value, timedelta):
        yield spans(value)
    elif name.lower().endswith(("_ms", "_s", "_seconds", "_days")):
        unit = name.lower().rpartition("_")[2]
        scale = {"ms": "milliseconds", "s": "seconds"}.get(unit, unit)
        yield spans(timedelta(**{scale: value}))
    else:
        yield {f"{value:,}", *sizes(value)}


def spans(span: timedelta) -> set[str]:
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    counts = {unit: span.total_seconds() / seconds for unit, seconds in units.items()}
    return {
        f"{count:g} {unit}{'' if count == 1 else 's'}"
        for unit, count in counts.items()
        if count.is_integer()
    }


def sizes(value: int) -> set[str]:
    units = {"MB": 10**6, "MiB": 2**20, "GiB": 2**30}
    return {f"{value // size} {unit}" for unit, size in units.items() if not value % size}


def sources_of(row: Row) -> Iterator[tuple[Any, str]]:
    for source in row.sources:
        yield value_of(source), source.rpartition(".")[2]
    if row.setting:
        name = row.setting.removeprefix(PREFIX).lower()
        value = getattr(Settings(), name)
        if value is not None:
            yield value, name


def unexplained(row: Row) -> str:
    """What is left of a row's figures without those of the code."""
    left = row.default + " " + " ".join(re.findall(r"after \d+ \w+", row.error))
    for value, name in sources_of(row):
        for spellings in figures(value, name):
            longest = sorted(spellings, key=len, reverse=True)
            found = next(
                (text for text in longest if re.search(rf"(?<![\d,]){text}(?![\d,]\d|\d)", left)),
                None,
            )
            if found is None:
                return f"{name} is {' or '.join(longest)}"
            left = left.replace(found, "", 1)
    return left if re.search(r"\d", left) else ""


@pytest.mark.usefixtures("real_limits")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_figures_of_limits_page_are_those_of_the_code(row: Row) -> None:
    assert not (left := unexplained(row)), f"correct the figures, or name their source: {left}"


@pytest.mark.parametrize(
    ("default", "left"),
    [("8", ""), ("80", "MAX_WAITING is 8"), ("8 of 9", " of 9"), ("1,008", "MAX_WAITING is 8")],
)
def test_wrong_figure_is_caught(default: str, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.operations.admission.MAX_WAITING", 8)
    row = Row("operations", default, "", "", ["graph.operations.admission.MAX_WAITING"])
    assert left in unexplained(row)
    assert bool(unexplained(row)) is bool(left)


def test_errors_of_limits_page_are_codes() -> None:
    codes = {kind.code for kind in subclasses(HowdahError)}
    named = {name for row in ROWS for name in re.findall(r"`([A-Z_]+)`", row.error)}
    others = {"QUEUED", "TIMED_OUT", "INTERRUPTED", "MAX_ROWS", "MAX_BYTES", "MAX_CELL"}
    assert named <= codes | others | set(CloseReason)


def subclasses(kind: type[HowdahError]) -> Iterator[type[HowdahError]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_setting_that_is_a_limit_is_on_the_page() -> None:
    kinds = get_type_hints(Settings, include_extras=True)
    limits = {name for name, kind in kinds.items() if is_number(kind)} - NO_LIMITS.keys()
    named = {row.setting.removeprefix(PREFIX).lower() for row in ROWS if row.setting}
    missing = sorted(PREFIX + name.upper() for name in limits - named)
    assert not missing, f"add a row for each to docs/limits.md: {missing}"
    assert named <= limits


def is_number(kind: Any) -> bool:
    found = inspect.type_info(kind)
    parts = found.types if isinstance(found, inspect.UnionType) else (found,)
    return any(isinstance(part, inspect.IntType) for part in parts)


@functools.cache
def constants() -> list[str]:
    """Constants of modules, and defaults of classes of limits, that look like limits."""
    found: list[str] = []
    for path in sorted([*(ROOT / "db").rglob("*.py"), *(ROOT / "graph").rglob("*.py")]):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = list(assigned(path.read_text(encoding="utf-8")))
        found += [f"{module}.{name}" for name in names if is_limit(f"{module}.{name}", name)]
    return found


def assigned(source: str) -> Iterator[str]:
    """Names that a module assigns and that may be limits, and its classes of limits."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Limits"):
            yield from (
                f"{node.name}.{field.target.id}"
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            )
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def is_limit(source: str, name: str) -> bool:
    if not ("." in name or _IS_LIMIT(name) or name.endswith("_rule") or name.isupper()):
        return False
    value = value_of(source)
    if isinstance(value, _RULES):
        return True
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and ("." in name or _IS_LIMIT(name) is not None)


SET_BY_OPERATOR = re.compile(
    r"RunLimits\.(max_running|max_active|(max_)?timeout_ms|max_rows|max_bytes|retention_days|max_kept_\w+)$"
    r"|values\.Limits\.|CacheLimits\.|SessionLimits\.|RequestLimits\.kept_plan"
).search
"""Defaults that the settings replace (db/services.py), and the cache of plans."""


def test_every_constant_that_is_a_limit_is_on_the_page() -> None:
    named = {source for row in ROWS for source in row.sources}
    found = constants()
    missing = [
        name
        for name in found
        if name not in named and not is_internal(name) and not SET_BY_OPERATOR(name)
    ]
    assert not missing, (
        f"add a row for each to docs/limits.md, or a reason to INTERNAL here: {missing}"
    )
    assert len(found) > 60


def is_internal(name: str) -> bool:
    return any(f"{name}.".startswith(f"{each}.") for each in INTERNAL)


def test_exceptions_of_limits_page_are_in_use() -> None:
    used = [each for each in INTERNAL for name in constants() if f"{name}.".startswith(f"{each}.")]
    assert set(used) == INTERNAL.keys()
