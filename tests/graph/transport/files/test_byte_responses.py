"""Streamed bytes, and the HTTP responses of errors of the plain HTTP routes."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from db import errors
from db.errors import HowdahError, RateLimited, Unauthenticated
from db.kit.audit import AuditKind
from db.kit.base import new_id
from graph.transport.files.byte_responses import error_response, recorded_download
from tests.fixtures.patience import PATIENCE_S

KINDS = [kind for kind in HowdahError.__subclasses__() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_error_response_of_deliberate_error_is_no_fault_of_the_server(
    kind: type[HowdahError],
) -> None:
    assert error_response(kind("No.", hint="Wait."), "r1").status_code != 500


def test_error_response_asks_for_credentials() -> None:
    response = error_response(Unauthenticated("No.", hint="Sign in."), "r1")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_error_response_says_when_to_retry() -> None:
    response = error_response(RateLimited("No.", hint="Wait.", retry_after_s=0.4), "r1")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


async def test_download_is_recorded_if_its_client_leaves_after_the_last_byte() -> None:
    """Its task is cancelled then, as that of `curl`, which reads no further than the length."""
    writing, may_write, written = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class SlowDatabase:
        async def write(self, _: object) -> None:
            writing.set()
            await may_write.wait()
            written.set()

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"all"

    async def send() -> None:
        database, kind = cast("Any", SlowDatabase()), AuditKind.FILE_DOWNLOADED
        async for _ in recorded_download(
            chunks(), database, kind, of=new_id(), subject_id=new_id()
        ):
            pass

    sending = asyncio.create_task(send())
    await writing.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    may_write.set()
    await asyncio.wait_for(written.wait(), PATIENCE_S)
