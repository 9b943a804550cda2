"""The server's own limits, below HTTP."""

import asyncio

from graph.server.http_protocol import HEAD_BYTES
from tests.fixtures.toy import ToyServer


async def test_headers_without_end_are_refused(toy_server: ToyServer) -> None:
    host, port = toy_server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * HEAD_BYTES)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.endswith(b"The headers are larger than 65,536 bytes.")
    writer.close()


async def test_headers_limit_does_not_apply_to_body(toy_server: ToyServer) -> None:
    host, port = toy_server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"query": "{ hello }", "extensions": {"padding": "%s"}}' % (b"a" * 4 * HEAD_BYTES)
    for _ in range(2):  # the second follows on the same connection
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: howdah\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()
