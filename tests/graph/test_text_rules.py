"""Each text in the input of a mutation passes a rule of `db/kit/text_rules.py` before PostgreSQL.

Without one, U+0000 reaches the driver, which fails: the answer is then an internal error.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLString, get_named_type

from db.kit.text_rules import Required
from tests.fixtures.clients import Client, Response
from tests.graph.test_autocommit import INPUTS, walk
from tests.graph.test_ownership import Door, Path, own, prefixes, sample, with_id


def texts(name: str, kind: Any) -> Iterator[Path]:
    """The paths to strings in an argument."""
    named = get_named_type(kind)
    if named is GraphQLString:
        yield (name,)
    elif isinstance(named, GraphQLInputObjectType):
        for child, field in named.fields.items():
            yield from ((name, *path) for path in texts(child, field.type))


CASES = [
    (door, path)
    for door in walk("mutation")
    for name, argument in door.definition.args.items()
    for path in texts(name, argument.type)
]


async def send_nul(admin: Client, door: Door, path: Path) -> Response:
    """Sends the mutation for objects of the viewer, with U+0000 in the text at `path`."""
    kind = door.definition.args["input"].type
    given = sample("input", kind) | INPUTS.get(door.field, {})
    ids: tuple[Path, ...] = (door.path, *door.others) if door.path else ()
    taken = await prefixes(admin, door) if ids else {}
    for each in ids:
        given = with_id(each[1:], kind, given, await own(admin, admin, taken[each][0]))
    given = with_id(path[1:], kind, given, "a\0b")
    document = f"mutation($input: {kind}) {{ {door.field}(input: $input) {{ __typename }} }}"
    return await admin.send(document, input=given)


@pytest.mark.parametrize(("door", "path"), CASES, ids=str)
async def test_text_of_mutation_has_a_rule(admin: Client, door: Door, path: Path) -> None:
    answer = await send_nul(admin, door, path)
    assert answer.code != "INTERNAL", (
        f"{door.field}({'.'.join(path)}): pass it through `Required` or `Optional` of "
        f"db/kit/text_rules.py in the repository: {answer}"
    )


@pytest.mark.parametrize("field", ["createTask", "updateTask"])
async def test_text_without_rule_is_caught(
    admin: Client, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    (door,) = (door for door in walk("mutation") if door.field == field)
    monkeypatch.setattr(Required, "checked", unchecked)
    assert (await send_nul(admin, door, ("input", "title"))).code == "INTERNAL"


def unchecked(_: Required, text: str) -> str:
    return text
