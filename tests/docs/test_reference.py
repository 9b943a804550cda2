"""docs/reference is generated from schema.graphql, complete and current."""

from graphql import build_schema

from tests.fixtures.reference_pages import FOLDER, ROOT, pages

SDL = (ROOT / "schema.graphql").read_text(encoding="utf-8")


def test_reference_is_current() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert written == pages(SDL), "run `make schema`"


def test_reference_describes_every_type_and_root_field() -> None:
    schema = build_schema(SDL)
    text = "\n".join(pages(SDL).values())
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    names = {name for root in roots if root for name in root.fields}
    names |= {name for name in schema.type_map if not name.startswith("__")}
    names -= {"Query", "Mutation", "Subscription", "Boolean", "Float", "ID", "Int", "String"}
    assert [name for name in sorted(names) if f"\n## {name}\n" not in text] == []


def test_reference_shows_a_change_of_the_schema() -> None:
    sdl = """
    type Query { "Old." old(size: Int = 5): Int @deprecated(reason: "Use `new`.") new: [Kind!]! }
    enum Kind { "First | last, see `Kind`." FIRST }
    """
    found = pages(sdl)
    assert "## old\n\n**Deprecated.** Use `new`. Old." in found["queries.md"]
    assert "| `size` | `Int` = `5` |" in found["queries.md"]
    assert "Returns [`[Kind!]!`](enums.md#kind)." in found["queries.md"]
    assert "| `FIRST` | First \\| last, see [`Kind`](enums.md#kind). |" in found["enums.md"]
