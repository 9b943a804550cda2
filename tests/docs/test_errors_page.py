"""docs/errors.md lists every code and status, docs/subscriptions.md every close code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import db.errors
from db.errors import HowdahError
from graph.operations.persisted_documents import PersistedQueryNotFound
from graph.server import websocket_protocol
from graph.transport.files import byte_responses
from graph.transport.http import statuses
from tests.fixtures.pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SUBSCRIPTIONS = (ROOT / "docs" / "subscriptions.md").read_text(encoding="utf-8")
TRANSPORT = ROOT / "graph" / "transport"
CODES = {PersistedQueryNotFound.code} | {
    kind.code
    for kind in vars(db.errors).values()
    if isinstance(kind, type) and issubclass(kind, HowdahError)
}


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


def statuses_of(paths: list[Path]) -> set[int]:
    """The statuses that modules name: `status_code=...`, and the first argument of a refusal."""
    return {status for path in paths for status in _statuses(ast.parse(path.read_text("utf-8")))}


def _statuses(tree: ast.Module) -> Iterator[int]:
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int)
    }
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="status_code" | "status", value=ast.Constant(value=int(status))):
                yield status
            case ast.Call(
                func=ast.Name(id="HttpRefusal" | "_Refused"),
                args=[ast.Constant(value=int(status)), *_],
            ):
                yield status
            case ast.Call(func=ast.Name(id="_Refused"), args=[ast.Name(id=name), *_]):
                yield constants[name]


def test_errors_page_lists_every_code_with_its_status() -> None:
    listed = {code.strip("`"): int(status) for code, _, status, _ in rows(section("Codes"))}
    assert listed == {code: statuses._STATUS.get(code, 422) for code in CODES}


def test_errors_page_lists_every_status_of_http() -> None:
    listed = {int(row[0]) for row in rows(section("Statuses of HTTP alone"))}
    modules = [*(TRANSPORT / "http").glob("*.py"), TRANSPORT / "middleware" / "origins.py"]
    assert listed == statuses_of(modules)


def test_errors_page_lists_every_status_of_files() -> None:
    found = rows(section("Statuses of files and results"))
    listed = {int(status) for row in found for status in re.findall(r"\d+", row[0])}
    raised = set(byte_responses._STATUS.values()) | {200, 206, 500}
    modules = list((TRANSPORT / "files").glob("*.py"))
    assert listed == statuses_of(modules) | raised
    codes = {code for row in found for code in re.findall(r"`(\w+)`", row[1])}
    assert codes == byte_responses._STATUS.keys() | {HowdahError.code}


def test_subscriptions_page_lists_every_close_code() -> None:
    source = (TRANSPORT / "websocket.py").read_text(encoding="utf-8")
    used = set(re.findall(r"(?:_Closed|websocket\.close)\((\d{4})\b", source))
    used.add(str(websocket_protocol.REFUSED.value))
    listed = re.findall(r"^\| (\d{4}) \|", SUBSCRIPTIONS, re.MULTILINE)
    assert set(listed) == used
