"""Parses multiaddresses such as `/dns/bsp.example/tcp/443/wss` into their canonical form.

Supports the protocols that reach a provider: a host, its transport, and the protocols above it.
The library for all protocols brings sixteen packages (docs/decisions/0007-storage.md).
"""

import ipaddress
import re
from collections.abc import Iterator

_NAMES = {"dns", "dns4", "dns6"}
_TRANSPORTS = {"tcp", "udp"}
_APPLICATION = {"ws", "wss", "tls", "noise", "http", "https", "quic", "quic-v1", "webtransport"}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,6}")
_BASE_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Prefix -> length of a peer ID: a SHA-256 multihash, or an inlined Ed25519 or secp256k1 key.
_PEER_LENGTHS = {b"\x12\x20": 34, b"\x00\x24": 38, b"\x00\x25": 39}
_MAX_LENGTH = 500


def canonical(address: str) -> str:
    """Returns the canonical form of an address.

    Raises:
        ValueError: the address has no supported form.
    """
    start, *parts = address.removesuffix("/").split("/")
    if start or len(address) > _MAX_LENGTH or len(parts) < 4:
        raise ValueError("it does not start with a host and a transport")
    kind, host, transport, port, *rest = parts
    if transport not in _TRANSPORTS:
        raise ValueError("the transport is not `tcp` or `udp`")
    return "/".join(["", kind, _host(kind, host), transport, _port(port), *_application(rest)])


def _host(kind: str, host: str) -> str:
    if kind == "ip4":
        return str(ipaddress.IPv4Address(host))
    if kind == "ip6":
        address = ipaddress.IPv6Address(host)
        if address.scope_id is not None:
            raise ValueError("the host has a zone, which is valid on one machine only")
        return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else address.compressed
    name = host.lower()
    if kind not in _NAMES or len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError("the host is not valid")
    return name


def _port(port: str) -> str:
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise ValueError("the port is not between 1 and 65535")
    return str(int(port))


def _application(parts: list[str]) -> Iterator[str]:
    rest = iter(parts)
    for protocol in rest:
        yield protocol
        if protocol == "p2p":
            yield _peer(next(rest, ""))
        elif protocol not in _APPLICATION:
            raise ValueError(f"the protocol {protocol!r} is not supported")


def _peer(text: str) -> str:
    if not set(text) <= set(_BASE_58):
        raise ValueError("the peer ID is not in base 58")
    number = 0
    for character in text:
        number = number * 58 + _BASE_58.index(character)
    zeros = len(text) - len(text.lstrip("1"))
    peer = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if _PEER_LENGTHS.get(peer[:2]) != len(peer):
        raise ValueError("the peer ID is not valid")
    return text
