"""Secrets do not appear in the repr of what carries them."""

from typing import Any

import pytest

from db.connections import Draft
from graph.connections import inputs as connections
from graph.runs.inputs import ExecuteQueryInput
from graph.users import inputs as users

CANARY = "canary-in-a-traceback"
SECRET_NAMES = ("password", "private_key", "passphrase", "refresh_token", "statement", "parameters")
INPUTS = [
    kind
    for kind in [*vars(connections).values(), *vars(users).values(), ExecuteQueryInput]
    if getattr(getattr(kind, "__strawberry_definition__", None), "is_input", False)
]


def secrets_of(kind: Any) -> dict[str, str]:
    names = kind.__dataclass_fields__
    return {name: CANARY for name in names if any(word in name for word in SECRET_NAMES)}


@pytest.mark.parametrize("kind", INPUTS, ids=lambda kind: kind.__name__)
def test_repr_of_input_hides_secrets(kind: Any) -> None:
    value = object.__new__(kind)
    for name in kind.__dataclass_fields__:
        setattr(value, name, secrets_of(kind).get(name, "shown"))
    assert CANARY not in repr(value)


def test_inputs_with_secrets_are_found() -> None:
    found = {kind.__name__ for kind in INPUTS if secrets_of(kind)}
    assert {"SshTunnelInput", "SaveConnectionInput", "ConnectInput", "SignInInput"} <= found


def test_repr_of_draft_hides_secrets() -> None:
    draft = Draft({"host": "db.example.com"}, {"password": CANARY})
    assert CANARY not in repr(draft)
    assert "db.example.com" in f"{draft}"
