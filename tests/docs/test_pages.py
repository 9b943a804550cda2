"""Links and paths in pages lead to existing files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", ".github/*.md", "docs/**/*.md", "tests/*/README.md")
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)
# The CONTRIBUTING page adds a domain of this name. `db.query.text` is an attribute of traces.
EXAMPLES = re.compile(
    r"(db|graph|tests/db|tests/graph)/notes\b|alembic/versions/<|db\.(query|response)\."
)

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<path>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_NAME_IN = re.compile(r"`(?:\w+\.)*(\w+)`\s\(`((?:graph|db)/[\w/]+\.py)`\)")
_PATH = re.compile(
    r"(?<![\w./<-])(?:(?:graph|db|tests|docs|bench|alembic)/[\w./-]*[\w/]"
    r"|(?:graph|db|tests|bench)\.[a-z_]+(?:\.[a-z_]+)+)(?![\w<*-])"
)


def missing(text: str, folder: Path) -> Iterator[str]:
    """Links and paths in a page of `folder` that do not exist."""
    prose = _FENCE.sub("", text)
    for path, anchor in _LINK.findall(prose):
        target = folder / path
        if not target.exists():
            yield path
        elif anchor and path.endswith(".md"):
            if anchor not in anchors(target.read_text(encoding="utf-8")):
                yield f"{path}#{anchor}"
        elif anchor and not path and anchor not in anchors(text):
            yield f"#{anchor}"
    for code in _CODE.findall(prose):
        for path in _PATH.findall(code):
            if not EXAMPLES.match(path) and not _is_here(path):
                yield path
    for name, path in _NAME_IN.findall(prose):
        if (ROOT / path).exists() and not _defines(ROOT / path, name):
            yield f"{name} in {path}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(_FENCE.sub("", text))
    }


def ids(letter: str, last: int) -> set[str]:
    return {f"{letter}{number}" for number in range(1, last + 1)}


def _defines(module: Path, name: str) -> bool:
    text = module.read_text(encoding="utf-8")
    return re.search(rf"^\s*(?:(?:async )?def |class )?{name}\b", text, re.MULTILINE) is not None


def _is_here(path: str) -> bool:
    if "/" in path:
        return (ROOT / path).exists()
    return any((ROOT / path.replace(".", "/")).with_suffix(end).exists() for end in ("", ".py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_only_paths_that_exist(page: Path) -> None:
    assert list(missing(page.read_text(encoding="utf-8"), page.parent)) == []


def test_missing_paths_are_found() -> None:
    text = (
        "See [this](docs/gone.md), `db/gone.py`, `db.tasks.gone`, `graph/notes`, "
        "[here](README.md#performance), [there](README.md#gone), [below](#gone), "
        "`Tasks.create` (`db/tasks/repository.py`), `Gone` (`db/tasks/repository.py`) and "
        "`db/users/__init__.py`.\n## Here\n[Up](#here)\n"
    )
    assert list(missing(text, ROOT)) == [
        "docs/gone.md",
        "README.md#gone",
        "#gone",
        "db/gone.py",
        "db.tasks.gone",
        "Gone in db/tasks/repository.py",
    ]


def test_requirements_page_has_each_row_once() -> None:
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([STD]\d+) \|", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == ids("S", 8) | ids("T", 11) | ids("D", 13)


def test_code_names_only_pages_that_exist() -> None:
    sources = [path for top in ("graph", "db", "bench") for path in (ROOT / top).rglob("*.py")]
    named = {
        page
        for path in sources
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda page: page.stem
)
def test_decision_has_number_status_and_date(page: Path) -> None:
    number = page.name[:4]
    status = r"Status: (?:proposed|accepted|superseded by \d{4}) *"
    head = rf"# {number} .+\n\n{status}\nDate: \d{{4}}-\d\d-\d\d\n"
    assert re.match(head, page.read_text(encoding="utf-8"))
