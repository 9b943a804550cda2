"""Each text in an argument of a root field passes a rule of `db/kit/text_rules.py`.

Without one, U+0000 reaches the driver, which fails: the answer is then an internal error.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLString,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

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


ON_CONNECTION = {"connectionId"}
IDS: dict[str, set[str]] = {
    "changeRows": ON_CONNECTION,
    "executeQuery": ON_CONNECTION,
    "executeScript": ON_CONNECTION,
    "explainQuery": ON_CONNECTION,
}
"""IDs that an input needs before its texts are read, though its type does not require them."""

TUNNEL = {"host": "ssh", "username": "u", "authMethod": "PASSWORD"}
KEY_TUNNEL = TUNNEL | {"authMethod": "PRIVATE_KEY", "privateKey": "x"}
KEY_FIELDS = {"privateKey", "passphrase"}
SENT: dict[str, dict[str, Any]] = INPUTS | {
    "changeRows": {"schemaName": "s", "tableName": "t", "changes": [{"kind": "INSERT"}]},
    "signIn": {"email": "ada@example.com", "password": "x"},
    "testConnection": {"host": "127.0.0.1", "database": "d", "username": "u"},
}

NOT_STORED: dict[str, set[str]] = {
    "changePassword": {"newPassword"},  # the current one is compared first
    "refreshSession": {"refreshToken"},
    "requestPasswordReset": {"email"},  # without a mail server
    "signIn": {"password", "deviceToken"},
    "splitStatements": {"script"},
}
"""Texts that are only compared or parsed: any characters are a wrong value at most."""


def expected_field(door: Door, path: Path) -> str:
    """The `field` of an error: the path below the argument, to the first list."""
    names: list[str] = []
    kind = door.definition.args[path[0]].type
    for name in path[1:]:
        if is_list_type(get_nullable_type(kind)):
            break
        named = get_named_type(kind)
        assert isinstance(named, GraphQLInputObjectType)
        names.append(name)
        kind = named.fields[name].type
    return ".".join(names) or path[0]


async def send_nul(admin: Client, door: Door, path: Path) -> Response:
    """Asks for objects of the viewer, with U+0000 in the text at `path`."""
    ids: tuple[Path, ...] = (door.path, *door.others) if door.path else ()
    taken = await prefixes(admin, door) if ids else {}
    values = {each: await own(admin, admin, taken[each][0]) for each in ids} | {path: "a\0b"}
    if door.root == "query":
        return await knock(admin, door, values)
    for name in IDS.get(door.field, ()):
        values["input", name] = await own(admin, admin, "conn")
    kind = door.definition.args["input"].type
    given = sample("input", kind) | SENT.get(door.field, {})
    if "sshTunnel" in path:
        given["sshTunnel"] = KEY_TUNNEL if path[-1] in KEY_FIELDS else TUNNEL
    for each, value in values.items():
        given = with_id(each[1:], kind, given, value)
    document = f"mutation($input: {kind}) {{ {door.field}(input: $input) {{ __typename }} }}"
    return await admin.send(document, input=given)


@pytest.mark.parametrize(("door", "path"), CASES, ids=str)
async def test_text_of_argument_has_a_rule(admin: Client, door: Door, path: Path) -> None:
    answer = await send_nul(admin, door, path)
    if path[-1] in NOT_STORED.get(door.field, ()):
        assert answer.code != "INTERNAL", answer
        return
    assert answer.code == "BAD_USER_INPUT", (
        f"{door.field}({'.'.join(path)}): pass it through `Required` or `Optional` of "
        f"db/kit/text_rules.py in the repository: {answer}"
    )
    assert answer.errors[0]["extensions"].get("field") == expected_field(door, path), answer


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
