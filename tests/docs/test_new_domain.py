"""The blocks of docs/new-domain.md, added to a copy of this repository, pass the gates there."""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "new-domain.md"
TREE = ("alembic", "db", "docs", "graph", "tests", "pyproject.toml", "schema.graphql", "README.md")
LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", "__pycache__")
GATES = (
    "tests/test_architecture.py",
    "tests/graph/test_schema.py",
    "tests/graph/test_ownership.py",
    "tests/graph/audit/test_audited_mutations.py",
    "tests/graph/notes",
    "tests/db/postgres/schema/test_migrations.py",
    "tests/db/test_shards.py",
    "tests/docs/test_limits_page.py",
)
CHOSEN = (
    "note or models or schema or root or mutation or lists or unscoped or owned or domain "
    "or constant or without_owner"
)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, path, text) of each block that begins with a path."""
    return re.findall(r"^```(python|diff)\n# (\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def numbered(text: str, next_number: int) -> str:
    """The page writes NEXT and LATEST, so that it stays true when a migration is added."""
    return text.replace("NEXT", f"{next_number:04}").replace("LATEST", f"{next_number - 1:04}")


def patched(text: str, changes: str) -> str:
    """Applies `-` and `+` lines; added lines replace the removed ones or follow the ` ` line."""
    for before, added in re.findall(r"((?:^[ -].*\n)+)((?:^\+.*\n)+)", changes, re.MULTILINE):
        last = before.splitlines()[-1]
        kept = "" if last.startswith("-") else last[1:] + "\n"
        assert text.count(last[1:] + "\n") == 1, f"correct this line of {PAGE.name}: {last}"
        new = "".join(line[1:] + "\n" for line in added.splitlines())
        text = text.replace(last[1:] + "\n", kept + new)
    return text


def copy_with_domain(to: Path) -> None:
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=LEFT_OUT)
        else:
            shutil.copy(source, to / name)
    migrations = (ROOT / "alembic" / "versions").glob("[0-9]*.py")
    next_number = 1 + max(int(path.name.partition("_")[0]) for path in migrations)
    for language, *block in blocks(PAGE.read_text("utf-8")):
        name, text = (numbered(part, next_number) for part in block)
        path = to / name
        if language == "diff":
            path.write_text(patched(path.read_text("utf-8"), text), "utf-8")
        else:
            assert not path.exists(), f"{name} exists: choose another name in {PAGE.name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


async def run(folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments), cwd=folder, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_new_domain_of_the_page_passes_the_gates(tmp_path: Path) -> None:
    copy_with_domain(tmp_path)
    schema = await run(tmp_path, "graph.commands.main", "schema")
    assert "type Note implements Node" in schema
    (tmp_path / "schema.graphql").write_text(schema, "utf-8")
    await run(tmp_path, "ruff", "check", "db/notes", "graph/notes", "alembic")
    options = ("-n", "0", "-q", "-p", "no:cacheprovider", "-k", CHOSEN)
    said = await run(tmp_path, "pytest", *options, *GATES)
    assert re.search(r"\d\d+ passed", said), said
    (tmp_path / "db" / "models.py").write_text((ROOT / "db" / "models.py").read_text("utf-8"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *options, "tests/test_architecture.py"),
        cwd=tmp_path,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert b"add a line to db/models.py" in output, "a forgotten line is not caught"
