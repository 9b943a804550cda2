"""The gates of schema.graphql that run on Node.js pass on ours and fail on planted faults."""

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCHEMA = (ROOT / "schema.graphql").read_text()

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "eslint").exists(),
    reason="the packages are not installed: `make clients` installs them; needs npm",
)


async def run(*command: str | Path, folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def lint(folder: Path, schema: str) -> tuple[int, str]:
    (folder / "schema.graphql").write_text(schema)
    return await run("node", HERE / "lint.mjs", "schema.graphql", folder=folder)


async def test_linters_report_nothing_in_our_schema(tmp_path: Path) -> None:
    code, output = await lint(tmp_path, SCHEMA)
    assert code == 0, output


PLANTED = '''
"""A page of a list."""
type NoteConnection {
  """Items of this page."""
  edges: [Note!]!
}

"""An item."""
type NoteEdge {
  """Position."""
  cursor: String!

  """The item."""
  node: TaskStats
}

type Note {
  """Text of the note."""
  Text: String! @deprecated

  old: NoteEdge
}

extend type Query {
  """Notes."""
  notes: NoteConnection!
}
'''
CAUGHT = (
    "NoteConnection: Connection type must contain a field `pageInfo`",
    "(relay-connection-types)",
    "(relay-connection-types-spec)",
    "(relay-edge-types)",
    "Query.notes: A field that returns a Connection type must include forward pagination",
    "(relay-connection-arguments-spec)",
    "Note: Description is required",
    "Note.old: Description is required",
    'Note.Text: Field "Text" should be in camelCase format',
    "(require-deprecation-reason)",
)


async def test_linters_catch_planted_faults(tmp_path: Path) -> None:
    code, output = await lint(tmp_path, SCHEMA + PLANTED)
    assert code == 1
    assert [expected for expected in CAUGHT if expected not in output] == [], output


async def test_linters_reject_an_exception_that_nothing_needs(tmp_path: Path) -> None:
    code, output = await lint(tmp_path, 'type Query { "Time." now: String }')
    assert code == 1
    assert "nothing needs the exception from naming-convention" in output


BEFORE = """
type Query { tasks(first: Int): [Task!] old: Int @deprecated(reason: "Use `tasks`.") }
type Task { id: ID! state: State }
enum State { OPEN DONE }
"""
AFTER = """
type Query { tasks(first: Int!): [Task!] }
type Task { id: ID! state: State title: String }
enum State { OPEN LATER }
"""
BROKEN = ("Query.tasks(first:)", "Query.old", "State.DONE")
CHANGELOG = "# Changelog\n\n## 0.2.0\n\n{next}\n## 0.1.0\n\n{last}\n"


async def repository(folder: Path) -> Path:
    """A repository with a release of BEFORE, and AFTER in the working tree."""
    folder.mkdir()
    (folder / "schema.graphql").write_text(BEFORE)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (
        ("init", "-q"),
        ("add", "."),
        (*identity, "commit", "-q", "-m", "Release", "--no-gpg-sign"),
        ("tag", "v0.1.0"),
    ):
        code, output = await run("git", *command, folder=folder)
        assert code == 0, output
    (folder / "schema.graphql").write_text(AFTER)
    return folder


async def compare(folder: Path, *, next_: str = "", last: str = "") -> tuple[int, str]:
    (folder / "CHANGELOG.md").write_text(CHANGELOG.format(next=next_, last=last))
    return await run("node", HERE / "breaking.mjs", ".", folder=folder)


def announced(*coordinates: str) -> str:
    return "### Breaking\n\n" + "".join(f"- `{name}` is gone.\n" for name in coordinates)


async def test_breaking_change_fails_unless_the_changelog_announces_it(tmp_path: Path) -> None:
    folder = await repository(tmp_path / "repository")
    code, output = await compare(folder)
    assert (code, [name for name in BROKEN if f"breaking: {name}: " not in output]) == (1, [])
    assert "dangerous: State.LATER" in output

    code, output = await compare(folder, next_=announced(*BROKEN[:2]))
    assert (code, output.count("breaking: ")) == (1, 1)
    assert "breaking: State.DONE" in output

    for elsewhere in (announced(*BROKEN).replace("Breaking", "Added"), ""):
        code, _ = await compare(folder, next_=elsewhere, last=announced(*BROKEN))
        assert code == 1, "only the next release announces it"

    code, output = await compare(folder, next_=announced(*BROKEN))
    assert code == 0, output
    assert "3 breaking changes since v0.1.0" in output


async def test_schema_is_not_compared_without_a_release(tmp_path: Path) -> None:
    folder = await repository(tmp_path / "repository")
    source = (folder / ".git").as_uri()
    await run("git", "clone", "-q", "--depth=1", "--no-tags", source, "shallow", folder=tmp_path)
    shallow = tmp_path / "shallow"
    await run("git", "tag", "-d", "v0.1.0", folder=folder)
    (tmp_path / "bare").mkdir()
    for place, reason in (
        (folder, "there is no tag"),
        (shallow, "this clone is shallow"),
        (tmp_path / "bare", "this is no git repository"),
    ):
        code, output = await compare(place)
        assert (code, reason in output) == (0, True), output
