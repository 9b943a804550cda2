"""The key that one user passes cannot delay the work of other users in threads."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from db.connections import pem
from db.errors import BadInput, Overloaded
from db.kit.base import new_id
from db.security.key_threads import KeyThreads
from tests.db.connections.test_pem import OPENSSH, PASSPHRASE, PKCS8, written
from tests.fixtures.bastion import SshServer
from tests.fixtures.clients import Client
from tests.fixtures.targets import Target

TEST = """mutation($input: TestConnectionInput!) { testConnection(input: $input) {
  ok error { code message } } }"""
SAVE = """mutation($input: SaveConnectionInput!) { saveConnection(input: $input) {
  connection { id } } }"""
ROUNDS = b"bcrypt"


def with_rounds(rounds: int) -> str:
    """An encrypted key that claims a number of rounds."""
    lines = written(OPENSSH, PASSPHRASE).splitlines()
    data = base64.b64decode("".join(lines[1:-1]))
    place = data.index(ROUNDS) + len(ROUNDS) + 4 + 4 + 16
    costly = data[:place] + rounds.to_bytes(4, "big") + data[place + 4 :]
    return "\n".join([lines[0], base64.b64encode(costly).decode(), lines[-1]])


@pytest.mark.parametrize("rounds", [65, 1_024, 2**31])
def test_key_of_many_rounds_is_refused(rounds: int) -> None:
    with pytest.raises(BadInput, match=f"{rounds} rounds; the maximum is 64") as caught:
        pem.private_key(with_rounds(rounds), PASSPHRASE)
    assert caught.value.field == "sshTunnel.privateKey"
    assert "Re-encrypt" in caught.value.hint


def test_rounds_cannot_be_hidden_from_the_check() -> None:
    """The library ignores dashes in base64, so it reads lines that look like a delimiter."""
    first, body, last = with_rounds(1_024).splitlines()
    hidden = "\n".join([first, body[:40], f"-----{body[40:80]}", body[80:], last])
    with pytest.raises(BadInput):
        pem.private_key(hidden, PASSPHRASE)


def test_large_rsa_key_is_refused_before_it_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pem, "MAX_RSA_BITS", 2_048)  # a key of 8,193 bits takes 5 s to make
    larger = rsa.generate_private_key(65_537, 3_072)
    with pytest.raises(BadInput, match="RSA key of 3072 bits"):
        pem.private_key(written(PKCS8, key=larger), None)


class _Refusing(ThreadPoolExecutor):
    """The shared threads of asyncio, in which no key may be opened."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        call = getattr(work, "args", (work,))[0]  # to_thread passes functools.partial(context.run)
        if "pem" in (getattr(call, "__module__", "") or ""):
            raise AssertionError("a key is opened in the shared threads")
        return super().submit(work, *arguments, **options)


@pytest.fixture
async def refusing() -> AsyncIterator[None]:
    """All tests share the event loop, so that its own threads are restored."""
    loop = asyncio.get_running_loop()
    before = loop._default_executor  # type: ignore[attr-defined]  # there is no getter
    with _Refusing() as executor:
        loop.set_default_executor(executor)
        yield
        loop._default_executor = before  # type: ignore[attr-defined]


@pytest.mark.usefixtures("refusing")
async def test_keys_are_not_opened_in_the_shared_threads(
    ada: Client, target: Target, ssh_server: SshServer
) -> None:
    tunnel = {
        "host": "localhost",
        "port": ssh_server.port,
        "username": "ada",
        "authMethod": "PRIVATE_KEY",
        "privateKey": written(OPENSSH, PASSPHRASE),
        "passphrase": PASSPHRASE,
        "hostKeyFingerprint": ssh_server.fingerprint,
    }
    whole = {"name": "x", "host": "localhost", "port": target.port, "database": "postgres"}
    await ada.ask(SAVE, input=whole | {"username": "ada", "sshTunnel": tunnel})
    tested = await ada.ask(TEST, input=whole | {"username": "ada", "sshTunnel": tunnel})
    assert tested["testConnection"]["error"]["code"] == "BAD_USER_INPUT"  # another key is its own


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()  # a waiting thread would never end


class Jobs:
    """Jobs that start, tell it, and wait for the gate."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.loop = asyncio.get_running_loop()
        self.started: asyncio.Queue[str] = asyncio.Queue()

    def run(self, name: str) -> str:
        self.loop.call_soon_threadsafe(self.started.put_nowait, name)
        self.gate.wait()
        return name


async def test_one_key_of_each_user_is_opened_at_a_time(gate: threading.Event) -> None:
    threads, jobs = KeyThreads(threads=2), Jobs(gate)
    ada, bob = new_id(), new_id()
    first = [asyncio.create_task(threads.run(ada, jobs.run, f"ada {n}")) for n in range(24)]
    assert await jobs.started.get() == "ada 0"
    other = asyncio.create_task(threads.run(bob, jobs.run, "bob"))
    assert await jobs.started.get() == "bob"
    first[0].cancel()  # the thread goes on, so no other job of the user starts
    await asyncio.wait(first[:1])
    gate.set()
    assert await other == "bob"
    assert await asyncio.gather(*first[1:]) == [f"ada {n}" for n in range(1, 24)]
    assert threads._slots.users == 0
    threads.close()


async def test_key_that_waits_too_long_is_overloaded(gate: threading.Event) -> None:
    threads, jobs = KeyThreads(threads=2, wait_s=0.01), Jobs(gate)
    first = asyncio.create_task(threads.run(None, jobs.run, "first"))
    await jobs.started.get()
    with pytest.raises(Overloaded):
        await threads.run(None, jobs.run, "second")
    gate.set()
    await first
    assert threads._slots.users == 0
    threads.close()
