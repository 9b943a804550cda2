"""Saved connections over GraphQL, with a real database behind them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from db.services import Services
from tests.fixtures.bastion import PASSWORD as SSH_PASSWORD
from tests.fixtures.bastion import SshServer
from tests.fixtures.clients import Client
from tests.fixtures.targets import CANARY, Target

SAVE = """mutation($input: SaveConnectionInput!) { saveConnection(input: $input) { connection {
  id name host port database username sslMode sslRootCertificate readOnly statementTimeoutMs
  sshTunnel { host port username authMethod hostKeyFingerprint }
  hasStoredPassword isConnected lastConnectedAt version } } }"""
CONNECT = """mutation($input: ConnectInput!) { connect(input: $input) {
  connection { id isConnected lastConnectedAt version }
  activeConnection { serverVersion tls poolSize idle busy connection { name } } } }"""
DISCONNECT = """mutation($input: DisconnectInput!) { disconnect(input: $input) {
  connection { isConnected } } }"""
TEST = """mutation($input: TestConnectionInput!) { testConnection(input: $input) {
  ok serverVersion latencyMs tls error { code message hint field hostKeyFingerprint } } }"""
ACTIVE = "{ activeConnections { connection { id } serverVersion poolSize idle busy tls } }"


@pytest.fixture
def whole(target: Target) -> dict[str, Any]:
    return target.connection(name="Orders")


@pytest.fixture
def save(ada: Client, whole: dict[str, Any]) -> Callable[..., Any]:
    async def saved(**given: Any) -> Any:
        made = await ada.ask(SAVE, input=whole | {"savePassword": True} | given)
        return made["saveConnection"]["connection"]

    return saved


async def test_connection_lifecycle(ada: Client, bob: Client, save: Callable[..., Any]) -> None:
    saved = await save()
    assert saved["sslMode"] == "PREFER"
    assert (saved["hasStoredPassword"], saved["isConnected"], saved["version"]) == (True, False, 1)
    opened = (await ada.ask(CONNECT, input={"id": saved["id"]}))["connect"]
    assert opened["connection"]["isConnected"]
    assert opened["connection"]["lastConnectedAt"]
    assert opened["activeConnection"]["serverVersion"].startswith("17.")
    assert opened["activeConnection"]["connection"] == {"name": "Orders"}
    active = (await ada.ask(ACTIVE))["activeConnections"]
    assert [(one["connection"]["id"], one["busy"]) for one in active] == [(saved["id"], 0)]
    assert (await bob.ask(ACTIVE))["activeConnections"] == []
    closed = (await ada.ask(DISCONNECT, input={"id": saved["id"]}))["disconnect"]
    assert not closed["connection"]["isConnected"]
    assert (await ada.ask(ACTIVE))["activeConnections"] == []
    deleted = await ada.ask(
        "mutation($input: DeleteConnectionInput!) "
        "{ deleteConnection(input: $input) { deletedConnectionId } }",
        input={"id": saved["id"]},
    )
    assert deleted["deleteConnection"]["deletedConnectionId"] == saved["id"]
    found = await ada.ask("{ connections(first: 9) { totalCount nodes { id } } }")
    assert found["connections"] == {"totalCount": 0, "nodes": []}


async def test_connect_requires_expected_version(ada: Client, save: Callable[..., Any]) -> None:
    saved = await save()
    refused = await ada.send(CONNECT, input={"id": saved["id"], "expectedVersion": 2})
    assert (refused.code, refused.errors[0]["extensions"]["field"]) == (
        "CONFLICT",
        "expectedVersion",
    )
    assert (await ada.ask(ACTIVE))["activeConnections"] == []
    await ada.ask(CONNECT, input={"id": saved["id"], "expectedVersion": 1})


async def test_delete_connection_closes_its_pool(
    ada: Client, save: Callable[..., Any], services: Services
) -> None:
    saved = await save()
    await ada.ask(CONNECT, input={"id": saved["id"]})
    await ada.ask(
        "mutation($input: DeleteConnectionInput!) "
        "{ deleteConnection(input: $input) { deletedConnectionId } }",
        input={"id": saved["id"]},
    )
    assert services.workbench._pools._living == {}


async def test_save_connection_keeps_absent_and_clears_null_fields(
    ada: Client, save: Callable[..., Any]
) -> None:
    saved = await save(statementTimeoutMs=1000)
    change = {"id": saved["id"], "name": "Invoices", "expectedVersion": 1}
    changed = (await ada.ask(SAVE, input=change))["saveConnection"]["connection"]
    assert changed == saved | {"name": "Invoices", "version": 2}
    assert (await ada.send(SAVE, input=change)).code == "CONFLICT"
    cleared = await ada.ask(
        SAVE, input={"id": saved["id"], "statementTimeoutMs": None, "password": None}
    )
    cleared = cleared["saveConnection"]["connection"]
    assert (cleared["statementTimeoutMs"], cleared["hasStoredPassword"]) == (None, False)


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        ({}, None, True),
        ({"savePassword": True}, None, True),
        ({"savePassword": None}, None, True),
        ({"savePassword": False}, None, False),
        ({"savePassword": False}, {}, False),
        ({"savePassword": True}, {}, True),
        ({"savePassword": True}, {"savePassword": False}, False),
        ({"savePassword": True}, {"password": "another"}, True),
        ({"savePassword": False}, {"password": "another"}, True),
        ({"savePassword": False}, {"password": "another", "savePassword": False}, False),
    ],
)
async def test_save_connection_stores_password_unless_refused(
    ada: Client,
    whole: dict[str, Any],
    first: dict[str, Any],
    then: dict[str, Any] | None,
    *,
    kept: bool,
) -> None:
    saved = (await ada.ask(SAVE, input=whole | first))["saveConnection"]["connection"]
    if then is not None:
        changed = await ada.ask(SAVE, input={"id": saved["id"]} | then)
        saved = changed["saveConnection"]["connection"]
    assert saved["hasStoredPassword"] is kept


@pytest.mark.parametrize("document", [SAVE, TEST])
async def test_missing_fields_are_reported_together(ada: Client, document: str) -> None:
    refused = await ada.send(document, input={"name": "Orders", "host": "", "username": None})
    assert refused.code == "BAD_USER_INPUT"
    assert refused.message == "`host`, `database` and `username` are missing."
    assert refused.errors[0]["extensions"]["field"] == "host"


async def test_save_connection_is_idempotent(ada: Client, whole: dict[str, Any]) -> None:
    asked = whole | {"savePassword": True, "idempotencyKey": "once"}
    first, again = await ada.ask(SAVE, input=asked), await ada.ask(SAVE, input=asked)
    assert first == again
    assert (await ada.send(SAVE, input=asked | {"password": "another"})).code == "CONFLICT"
    assert (await ada.ask("{ connections(first: 1) { totalCount } }"))["connections"] == {
        "totalCount": 1
    }


async def test_connect_accepts_password(ada: Client, save: Callable[..., Any]) -> None:
    saved = await save(savePassword=False)
    refused = await ada.send(CONNECT, input={"id": saved["id"]})
    assert refused.code == "BAD_USER_INPUT"
    assert refused.errors[0]["extensions"]["field"] == "password"
    await ada.ask(CONNECT, input={"id": saved["id"], "password": CANARY})


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({}, None, None),
        ({"sslMode": "REQUIRE"}, None, None),
        ({"password": "wrong"}, "BAD_USER_INPUT", "password"),
        ({"database": "nowhere"}, "BAD_USER_INPUT", "database"),
        ({"host": "no-such-host.invalid"}, "UNAVAILABLE", "host"),
        ({"port": 1}, "UNAVAILABLE", "host"),
        ({"host": "169.254.169.254"}, "FORBIDDEN", "host"),
    ],
)
async def test_probe_returns_error_as_data(
    ada: Client, whole: dict[str, Any], given: dict[str, Any], code: str | None, field: str | None
) -> None:
    trial = (await ada.ask(TEST, input=whole | given))["testConnection"]
    assert trial["ok"] is (code is None)
    if code is None:
        assert trial["serverVersion"].startswith("17.")
        assert trial["tls"].startswith("TLSv1.3")
        assert trial["latencyMs"] > 0
    else:
        assert (trial["error"]["code"], trial["error"]["field"]) == (code, field)
        assert trial["error"]["hint"]
    assert (await ada.ask("{ connections(first: 1) { totalCount } }"))["connections"] == {
        "totalCount": 0
    }


async def test_probe_accepts_changes_to_saved_connection(
    ada: Client, save: Callable[..., Any]
) -> None:
    saved = await save()
    assert (await ada.ask(TEST, input={"id": saved["id"]}))["testConnection"]["ok"]
    changed = await ada.ask(TEST, input={"id": saved["id"], "database": "nowhere"})
    assert changed["testConnection"]["error"]["field"] == "database"


async def test_probe_asks_for_unknown_host_key_once(
    ada: Client, whole: dict[str, Any], ssh_server: SshServer
) -> None:
    tunnel = {
        "host": "localhost",
        "port": ssh_server.port,
        "username": "ada",
        "authMethod": "PASSWORD",
        "password": SSH_PASSWORD,
    }
    first = (await ada.ask(TEST, input=whole | {"sshTunnel": tunnel}))["testConnection"]
    assert first["error"]["field"] == "sshTunnel.hostKeyFingerprint"
    shown = first["error"]["hostKeyFingerprint"]
    assert shown == ssh_server.fingerprint
    confirmed = whole | {"savePassword": True, "sshTunnel": tunnel | {"hostKeyFingerprint": shown}}
    saved = (await ada.ask(SAVE, input=confirmed))["saveConnection"]["connection"]
    assert saved["sshTunnel"]["hostKeyFingerprint"] == shown
    assert SSH_PASSWORD not in json.dumps(saved)
    assert (await ada.ask(CONNECT, input={"id": saved["id"]}))["connect"]
    await ada.ask(DISCONNECT, input={"id": saved["id"]})


async def test_ssh_agent_is_refused_on_server(ada: Client, whole: dict[str, Any]) -> None:
    tunnel = {"host": "localhost", "username": "ada", "authMethod": "AGENT"}
    for document in (SAVE, TEST):
        answer = await ada.send(document, input=whole | {"sshTunnel": tunnel})
        assert answer.code == "BAD_USER_INPUT"


async def test_preferences_are_versioned_json(ada: Client, bob: Client) -> None:
    put = """mutation($input: SetPreferenceInput!) {
      setPreference(input: $input) { preference { key value version } } }"""
    value = {"theme": "dark", "tabs": [1, None, "ü"]}
    first = await ada.ask(put, input={"key": "editor", "value": value})
    assert first["setPreference"]["preference"] == {"key": "editor", "value": value, "version": 1}
    stale = await ada.send(put, input={"key": "editor", "value": 1, "expectedVersion": 7})
    assert stale.code == "CONFLICT"
    read = '{ preferences { key } preference(key: "editor") { value } }'
    assert await ada.ask(read) == {
        "preferences": [{"key": "editor"}],
        "preference": {"value": value},
    }
    assert await bob.ask(read) == {"preferences": [], "preference": None}
    drop = """mutation($input: DeletePreferenceInput!) {
      deletePreference(input: $input) { deletedPreferenceId deletedPreferenceKey } }"""
    assert (await bob.send(drop, input={"key": "editor"})).code == "NOT_FOUND"
    preference_id = (await ada.ask('{ preference(key: "editor") { id } }'))["preference"]["id"]
    deleted = await ada.ask(drop, input={"key": "editor"})
    assert deleted["deletePreference"] == {
        "deletedPreferenceId": preference_id,
        "deletedPreferenceKey": "editor",
    }
    assert (await ada.ask(read))["preferences"] == []


async def test_credential_store_is_reported(ada: Client, anonymous: Client) -> None:
    ask = "{ credentialStore { kind keychainAvailable } }"
    assert await ada.ask(ask) == {
        "credentialStore": {"kind": "ENCRYPTED", "keychainAvailable": False}
    }
    assert (await anonymous.send(ask)).code == "UNAUTHENTICATED"
