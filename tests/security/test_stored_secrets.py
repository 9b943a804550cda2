"""A session cannot make Howdah send a stored secret to another server."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.db.connections.test_pem import OPENSSH, written
from tests.fixtures.bastion import PASSWORD as SSH_PASSWORD
from tests.fixtures.bastion import SshServer
from tests.fixtures.clients import Client, Response
from tests.fixtures.collectors import Collector
from tests.fixtures.targets import CANARY, Target

SAVE = """mutation($input: SaveConnectionInput!) { saveConnection(input: $input) {
  connection { id version hasStoredPassword } } }"""
TEST = """mutation($input: TestConnectionInput!) { testConnection(input: $input) {
  ok error { code message hint field hostKeyFingerprint } } }"""
CONNECT = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } } }"
EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { state error { message } } } }"""
STATE = """query($id: ID!) { connection(id: $id) { host port username sslMode sslRootCertificate
  sshTunnel { host port username authMethod hostKeyFingerprint } hasStoredPassword version } }"""


class Scene(NamedTuple):
    """A saved connection with secrets, and the servers around it."""

    ada: Client
    whole: dict[str, Any]
    target: Target
    ssh: SshServer
    collector: Collector

    async def save(self, **values: Any) -> str:
        made = await self.ada.ask(SAVE, input=self.whole | values)
        return str(made["saveConnection"]["connection"]["id"])

    async def state(self, saved: str) -> Any:
        return (await self.ada.ask(STATE, id=saved))["connection"]

    async def change(self, saved: str, **values: Any) -> Response:
        return await self.ada.send(SAVE, input={"id": saved} | values)

    async def test(self, saved: str, **values: Any) -> Any:
        return (await self.ada.ask(TEST, input={"id": saved} | values))["testConnection"]

    async def open(self, saved: str, **values: Any) -> Response:
        return await self.ada.send(CONNECT, input={"id": saved} | values)

    async def run(self, saved: str) -> Response:
        asked = {"connectionId": saved, "statement": "SELECT 1", "waitMs": 20_000}
        return await self.ada.send(EXECUTE, input=asked)

    def tunnel(self, **values: Any) -> dict[str, Any]:
        usual = {
            "host": "localhost",
            "port": self.ssh.port,
            "username": "ada",
            "authMethod": "PASSWORD",
            "password": SSH_PASSWORD,
            "hostKeyFingerprint": self.ssh.fingerprint,
        }
        return {name: value for name, value in (usual | values).items() if value is not ...}


@pytest.fixture
def scene(ada: Client, target: Target, ssh_server: SshServer, collector: Collector) -> Scene:
    whole = target.connection(name="Orders", savePassword=True)
    return Scene(ada, whole, target, ssh_server, collector)


Change = Callable[[Scene], tuple[dict[str, Any], dict[str, Any]]]
"""Returns the fields to save first, and the fields to change."""

AT_COLLECTOR: dict[str, Change] = {
    "host": lambda s: ({"port": s.collector.port}, {"host": "127.0.0.1"}),
    "port": lambda s: ({}, {"port": s.collector.port}),
    "username": lambda s: ({"port": s.collector.port}, {"username": "mallory"}),
    "TLS mode": lambda s: (
        {"port": s.collector.port, "sslMode": "REQUIRE"},
        {"sslMode": "DISABLE"},
    ),
    "authority": lambda s: (
        {"port": s.collector.port},
        {"sslRootCertificate": s.target.certificate},
    ),
    "tunnel added": lambda s: ({"port": s.collector.port}, {"sshTunnel": s.tunnel()}),
    "tunnel removed": lambda s: (
        {"port": s.collector.port, "sshTunnel": s.tunnel()},
        {"sshTunnel": None},
    ),
    "fingerprint": lambda s: (
        {"port": s.collector.port, "sshTunnel": s.tunnel(hostKeyFingerprint=None)},
        {"sshTunnel": s.tunnel()},
    ),
}


@pytest.fixture(params=AT_COLLECTOR)
def changed(request: pytest.FixtureRequest, scene: Scene) -> tuple[dict[str, Any], dict[str, Any]]:
    return AT_COLLECTOR[request.param](scene)


async def test_probe_of_changed_destination_asks_for_password(
    scene: Scene, changed: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    first, change = changed
    saved = await scene.save(**first)
    answer = await scene.test(saved, **change)
    assert scene.collector.passwords == []
    assert (answer["error"]["code"], answer["error"]["field"]) == ("BAD_USER_INPUT", "password")
    assert "again" in answer["error"]["hint"]
    await scene.test(saved, **change, password="typed again")
    assert len(scene.collector.passwords) == 1


async def test_save_of_changed_destination_asks_for_password(
    scene: Scene, changed: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    first, change = changed
    saved = await scene.save(**first)
    before = await scene.state(saved)
    for more in ({}, {"savePassword": True}):
        refused = await scene.change(saved, **change, **more)
        assert refused.code == "BAD_USER_INPUT"
        assert refused.errors[0]["extensions"]["field"] == "password"
    assert await scene.state(saved) == before
    accepted = await scene.change(saved, **change, password="typed again")
    assert accepted.data["saveConnection"]["connection"]["hasStoredPassword"]
    await scene.open(saved)
    assert len(scene.collector.passwords) == 1


@pytest.mark.parametrize("removal", [{"savePassword": False}, {"password": None}])
async def test_save_with_removed_password_does_not_ask(
    scene: Scene, removal: dict[str, Any]
) -> None:
    saved = await scene.save()
    answer = await scene.change(saved, port=scene.collector.port, **removal)
    assert not answer.data["saveConnection"]["connection"]["hasStoredPassword"]
    assert "password" in (await scene.open(saved)).message
    assert scene.collector.visits > 0
    assert scene.collector.passwords == []


@pytest.mark.parametrize("use", [Scene.open, Scene.run])
async def test_refused_change_sends_password_to_bound_server_only(
    scene: Scene, use: Callable[..., Any]
) -> None:
    saved = await scene.save()
    await scene.change(saved, port=scene.collector.port)
    answer = await use(scene, saved)
    assert answer.errors == []
    assert scene.collector.visits == 0


async def test_connection_shows_whether_a_secret_of_its_tunnel_is_stored(scene: Scene) -> None:
    async def is_stored(saved: str) -> tuple[bool, bool]:
        found = await scene.ada.ask(
            "query($id: ID!) { connection(id: $id) { hasStoredPassword hasStoredSshSecret } }",
            id=saved,
        )
        return tuple(found["connection"].values())

    assert await is_stored(await scene.save()) == (True, False)
    saved = await scene.save(sshTunnel=scene.tunnel())
    assert await is_stored(saved) == (True, True)
    answer = await scene.change(saved, sshTunnel=None, password=CANARY)
    assert (answer.code, await is_stored(saved)) == ("OK", (True, False))
    with_key = scene.tunnel(authMethod="PRIVATE_KEY", privateKey=written(OPENSSH), password=...)
    assert await is_stored(await scene.save(sshTunnel=with_key)) == (True, True)


async def test_change_of_other_fields_keeps_password(scene: Scene) -> None:
    saved = await scene.save(sslRootCertificate=scene.target.certificate)
    same = {name: value for name, value in scene.whole.items() if name[-8:].lower() != "password"}
    stored = await scene.state(saved)
    answer = await scene.change(
        saved,
        **same | {"name": "Invoices", "database": "template1", "readOnly": True},
        sslRootCertificate=stored["sslRootCertificate"],
    )
    assert answer.errors == []
    assert (await scene.open(saved)).errors == []


async def test_ssh_password_is_sent_to_bound_server_only(
    scene: Scene, ssh_collector: Collector
) -> None:
    saved = await scene.save(sshTunnel=scene.tunnel())
    mine = scene.tunnel(
        port=ssh_collector.port, hostKeyFingerprint=ssh_collector.fingerprint, password=...
    )
    answer = await scene.test(saved, sshTunnel=mine, password=CANARY)
    refused = await scene.change(saved, sshTunnel=mine, password=CANARY)
    assert ssh_collector.passwords == []
    assert answer["error"]["field"] == "sshTunnel.password"
    assert refused.errors[0]["extensions"]["field"] == "sshTunnel.password"
    await scene.test(saved, sshTunnel=mine | {"password": "typed again"}, password=CANARY)
    assert ssh_collector.passwords == ["typed again"]


@pytest.mark.parametrize(
    "change",
    [{"port": 22}, {"username": "eve"}, {"host": "127.0.0.1"}, {"hostKeyFingerprint": None}],
)
async def test_ssh_password_is_bound_to_its_server(scene: Scene, change: dict[str, Any]) -> None:
    saved = await scene.save(sshTunnel=scene.tunnel())
    tunnel = scene.tunnel(password=..., **change)
    refused = await scene.change(saved, sshTunnel=tunnel, password=CANARY)
    assert refused.errors[0]["extensions"]["field"] == "sshTunnel.password"
    assert (await scene.change(saved, sshTunnel=scene.tunnel(password=...))).errors == []


async def test_password_given_to_connect_is_forgotten_for_changed_destination(scene: Scene) -> None:
    saved = await scene.save(savePassword=False)
    opened = await scene.ada.send(CONNECT, input={"id": saved, "password": CANARY})
    assert opened.errors == []
    await scene.change(saved, port=scene.collector.port)
    await scene.open(saved)
    await scene.run(saved)
    assert scene.collector.visits > 0
    assert scene.collector.passwords == []


async def test_connect_does_not_send_typed_password_to_destination_saved_meanwhile(
    scene: Scene,
) -> None:
    """One session shows version 1 to the user while another saves the collector's address."""
    saved = await scene.save(savePassword=False)
    seen = await scene.state(saved)
    await scene.change(saved, port=scene.collector.port)
    typed = {"password": CANARY, "expectedVersion": seen["version"]}
    refused = await scene.open(saved, **typed)
    assert (refused.code, scene.collector.visits) == ("CONFLICT", 0)
    extensions = refused.errors[0]["extensions"]
    assert (extensions["field"], bool(extensions["hint"])) == ("expectedVersion", True)
    await scene.open(saved, **typed | {"expectedVersion": seen["version"] + 1})
    assert scene.collector.visits > 0
