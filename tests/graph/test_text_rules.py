"""Each text in an argument of a root field passes a rule of `db/kit/text_rules.py`.

Without one, U+0000 reaches the driver, which fails: the answer is then an internal error.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLString, get_named_type

from db.kit.text_rules import Required
from tests.fixtures.clients import Client, Response
from tests.graph.test_autocommit import INPUTS, walk
from tests.graph.test_ownership import Door, Path, knock, own, prefixes, sample, with_id


def texts(name: str, kind: Any) -> Iterator[Path]:
    """The paths to strings in an argument."""
    named = get_named_type(kind)
    if named is GraphQLString:
        yield (name,)
    elif isinstance(named, GraphQLInputObjectType):
        for child, field in named.fields.items():
            yield from ((name, *path) for path in texts(child, field.type))


FIELDS = [*walk("query"), *walk("mutation")]
CASES = [
    (door, path)
    for door in FIELDS
    for name, argument in door.definition.args.items()
    for path in texts(name, argument.type)
]


async def send_nul(admin: Client, door: Door, path: Path) -> Response:
    """Asks for objects of the viewer, with U+0000 in the text at `path`."""
    ids: tuple[Path, ...] = (door.path, *door.others) if door.path else ()
    taken = await prefixes(admin, door) if ids else {}
    values = {each: await own(admin, admin, taken[each][0]) for each in ids} | {path: "a\0b"}
    if door.root == "query":
        return await knock(admin, door, values)
    kind = door.definition.args["input"].type
    given = sample("input", kind) | INPUTS.get(door.field, {})
    for each, value in values.items():
        given = with_id(each[1:], kind, given, value)
    document = f"mutation($input: {kind}) {{ {door.field}(input: $input) {{ __typename }} }}"
    return await admin.send(document, input=given)


@pytest.mark.parametrize(("door", "path"), CASES, ids=str)
async def test_text_of_argument_has_a_rule(admin: Client, door: Door, path: Path) -> None:
    answer = await send_nul(admin, door, path)
    assert answer.code != "INTERNAL", (
        f"{door.field}({'.'.join(path)}): pass it through `Required` or `Optional` of "
        f"db/kit/text_rules.py in the repository: {answer}"
    )


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("createTask", ("input", "title")),
        ("updateTask", ("input", "title")),
        ("tasks", ("filter", "search")),
    ],
)
async def test_text_without_rule_is_caught(
    admin: Client, monkeypatch: pytest.MonkeyPatch, field: str, path: Path
) -> None:
    (door,) = (door for door in FIELDS if door.field == field)
    monkeypatch.setattr(Required, "checked", unchecked)
    assert (await send_nul(admin, door, path)).code == "INTERNAL"


def unchecked(_: Required, text: str) -> str:
    return text
