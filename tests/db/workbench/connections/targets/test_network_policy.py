import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, ip_address

import pytest

from db.errors import BadInput, Forbidden, Unavailable
from db.workbench.connections.targets import network_policy
from db.workbench.connections.targets.network_policy import Reach, Targets
from tests.fixtures.patience import PATIENCE_S

PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"),
    *("2002:7f00:1::1", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
]
NEVER = [
    str(IPv4Address(0)),
    *("0.1.2.3", "169.254.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
    *("240.0.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::", "fe80::1", "ff02::1"),
    *(
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "::ffff:0:a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
    ),
    *("2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:0:1::1", "100::1"),
]


class Names:
    """A name server that answers what it is told to, one answer after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    async def __call__(self, host: str) -> Sequence[str]:
        return self.answers.pop(0)


@pytest.fixture
def closing() -> Iterator[list[Targets]]:
    made: list[Targets] = []
    yield made
    for each in made:
        each.close()


@pytest.fixture
def private(closing: list[Targets]) -> Targets:
    closing.append(Targets(Reach(private=True), own=[("localhost", 5999)]))
    return closing[0]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert Reach().allows(ip_address(address))
    assert Reach(private=True).allows(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_by_setting(address: str) -> None:
    assert not Reach().allows(ip_address(address))
    assert Reach(private=True).allows(ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_reserved_addresses_are_never_allowed(address: str) -> None:
    everything = Reach.parse("0.0.0.0/0, ::/0", private_by_default=True)
    for reach in (Reach(), Reach(private=True), everything):
        assert not reach.allows(ip_address(address))


def test_network_list_is_exhaustive() -> None:
    reach = Reach.parse("10.0.0.0/8, 2001:db8::/32", private_by_default=True)
    assert reach.allows(ip_address("10.1.2.3"))
    assert reach.allows(ip_address("::ffff:10.1.2.3"))
    assert reach.allows(ip_address("2001:db8::1"))
    assert not reach.allows(ip_address("11.1.2.3"))
    assert not reach.allows(ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    ("text", "by_default", "private"),
    [
        (None, True, True),
        (None, False, False),
        ("", False, False),
        ("public", True, False),
        (" private ", False, True),
    ],
)
def test_targets_setting_is_parsed(text: str | None, *, by_default: bool, private: bool) -> None:
    assert Reach.parse(text, private_by_default=by_default) == Reach(private=private)


@pytest.mark.parametrize("text", ["privat", "public,private", "10.0.0.0/33", "private,10.0.0.0/8"])
def test_targets_setting_that_is_invalid_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="HOWDAH_TARGETS"):
        Reach.parse(text, private_by_default=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]"]
)
async def test_loopback_is_detected_in_every_spelling(closing: list[Targets], host: str) -> None:
    public, private = Targets(Reach()), Targets(Reach(private=True))
    closing += [public, private]
    with pytest.raises(Forbidden):
        await public.resolve(host, 5432)
    assert set(await private.resolve(host, 5432)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["/var/run/postgresql", "@abstract", "/tmp"])  # noqa: S108 - a UNIX socket
async def test_unix_sockets_are_never_allowed(private: Targets, host: str) -> None:
    with pytest.raises(Forbidden):
        await private.resolve(host, 5432)


async def test_name_with_one_forbidden_address_is_refused(closing: list[Targets]) -> None:
    both = Targets(Reach(), resolve_name=Names(["8.8.8.8", "10.0.0.1"]))
    closing.append(both)
    with pytest.raises(Forbidden):
        await both.resolve("rebind.example", 5432)


async def test_name_is_resolved_once(
    closing: list[Targets],
) -> None:
    changing = Targets(
        Reach(), resolve_name=Names(["8.8.8.8", "1.1.1.1", "8.8.8.8"], ["127.0.0.1"])
    )
    closing.append(changing)
    assert await changing.resolve("rebind.example", 5432) == ["8.8.8.8", "1.1.1.1"]
    with pytest.raises(Forbidden):
        await changing.resolve("rebind.example", 5432)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost", "::ffff:127.0.0.1"])
async def test_own_database_is_never_allowed(private: Targets, host: str) -> None:
    with pytest.raises(Forbidden):
        await private.resolve(host, 5999)
    assert await private.resolve(host, 5432)


@pytest.mark.parametrize("host", ["10.9.9.9", "::ffff:10.9.9.9", "64:ff9b::a09:909"])
async def test_own_database_on_another_machine_is_never_allowed(
    closing: list[Targets], host: str
) -> None:
    targets = Targets(Reach(private=True), own=[("10.9.9.9", 5999)])
    closing.append(targets)
    with pytest.raises(Forbidden):
        await targets.resolve(host, 5999)
    assert await targets.resolve(host, 5432)


class OwnName:
    """A name server that knows the host of Howdah's own database only sometimes."""

    def __init__(self) -> None:
        self.is_known = False

    async def __call__(self, host: str) -> Sequence[str]:
        if host != "db.internal" or not self.is_known:
            raise OSError
        return ["10.9.9.9"]


async def test_own_database_that_was_never_found_closes_its_port(closing: list[Targets]) -> None:
    own = [("db.internal", 5999)]
    targets = Targets(Reach(private=True), own=own, resolve_name=OwnName())
    closing.append(targets)
    with pytest.raises(Unavailable, match="its own database"):
        await targets.resolve("10.9.9.9", 5999)
    assert await targets.resolve("10.9.9.9", 5432) == ["10.9.9.9"]


async def test_own_database_is_compared_by_its_last_addresses(closing: list[Targets]) -> None:
    """Users can delay a look-up: each one waits for a thread."""
    names = OwnName()
    targets = Targets(Reach(private=True), own=[("db.internal", 5999)], resolve_name=names)
    closing.append(targets)
    names.is_known = True
    assert await targets.resolve("10.1.1.1", 5999) == ["10.1.1.1"]
    names.is_known = False
    with pytest.raises(Forbidden):
        await targets.resolve("10.9.9.9", 5999)
    assert await targets.resolve("10.1.1.1", 5999) == ["10.1.1.1"]


async def test_address_behind_nat64_is_connected_to_as_it_is(closing: list[Targets]) -> None:
    targets = Targets(Reach(), resolve_name=Names(["64:ff9b::808:808"]))
    closing.append(targets)
    assert await targets.resolve("only-ipv4.example", 5432) == ["64:ff9b::808:808"]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "..", "a" * 64 + ".example", "\ud800"])
async def test_unknown_host_is_reported(private: Targets, host: str) -> None:
    with pytest.raises(Unavailable, match="not found"):
        await private.resolve(host, 5432)


async def test_slow_names_of_one_user_leave_threads_to_others(
    closing: list[Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that asks a name server cannot be ended: it outlives the timeout."""
    answered = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith("slow"):
            answered.wait()
        return [(None, None, None, "", ("8.8.8.8", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(network_policy, "RESOLVE_TIMEOUT_S", 0.1)
    targets = Targets(Reach())
    closing.append(targets)
    try:
        slow = (targets.resolve(f"slow{n}.example", 5432, user="ada") for n in range(40))
        found = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(each) for each in found} == {Unavailable}
        monkeypatch.setattr(network_policy, "RESOLVE_TIMEOUT_S", PATIENCE_S)
        assert await targets.resolve("fast.example", 5432, user="bob") == ["8.8.8.8"]
    finally:
        answered.set()


async def test_silent_name_server_times_out(
    closing: list[Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(network_policy, "RESOLVE_TIMEOUT_S", 0.01)
    waiting = Targets(Reach(), resolve_name=silent)
    closing.append(waiting)
    with pytest.raises(Unavailable, match="not found"):
        await waiting.resolve("silent.example", 5432)
