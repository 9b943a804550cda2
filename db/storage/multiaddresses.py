"""Multiaddresses that can be dialled: `/dns/bsp.example/tcp/443/wss`, in their canonical spelling.

Of the many protocols only those by which a provider is reached: a host, its transport, and what
goes over it. The library for all of them brings sixteen packages (docs/decisions).
"""

import ipaddress
import re
from collections.abc import Iterator

_NAMES = {"dns", "dns4", "dns6"}
_TRANSPORTS = {"tcp", "udp"}
_OVER = {"ws", "wss", "tls", "noise", "http", "https", "quic", "quic-v1", "webtransport"}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,6}")
_BASE_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Multihashes of keys, by how they begin: SHA-256, and Ed25519 and secp256k1 keys as they are.
_PEERS = {b"\x12\x20": 34, b"\x00\x24": 38, b"\x00\x25": 39}
_LONGEST = 500


def canonical(address: str) -> str:
    """The one spelling of an address; a ValueError when nobody could dial it."""
    start, *parts = address.removesuffix("/").split("/")
    if start or len(address) > _LONGEST or len(parts) < 4:
        raise ValueError("it is no path of host and transport")
    kind, host, transport, port, *over = parts
    if transport not in _TRANSPORTS:
        raise ValueError("it has no transport")
    return "/".join(["", kind, _host(kind, host), transport, _port(port), *_over(over)])


def _host(kind: str, host: str) -> str:
    if kind == "ip4":
        return str(ipaddress.IPv4Address(host))
    if kind == "ip6":
        address = ipaddress.IPv6Address(host)
        if address.scope_id is not None:
            raise ValueError("its host means something on one machine only")
        return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else address.compressed
    name = host.lower()
    if kind not in _NAMES or len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError("it has no host")
    return name


def _port(port: str) -> str:
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise ValueError("it has no port")
    return str(int(port))


def _over(parts: list[str]) -> Iterator[str]:
    rest = iter(parts)
    for protocol in rest:
        yield protocol
        if protocol == "p2p":
            yield _peer(next(rest, ""))
        elif protocol not in _OVER:
            raise ValueError("it has a protocol that is not known here")


def _peer(text: str) -> str:
    number = 0
    for character in text:
        number = number * 58 + _BASE_58.index(character)  # a ValueError, too
    zeros = len(text) - len(text.lstrip("1"))
    peer = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if _PEERS.get(peer[:2]) != len(peer):
        raise ValueError("it has no peer")
    return text
