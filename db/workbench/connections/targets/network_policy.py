"""Which addresses saved connections may reach.

A name is resolved once, each of its addresses is checked, and a checked address is used, so that a
later change of the name (DNS rebinding) has no effect. Different spellings of an address (decimal,
hexadecimal, mapped) resolve to the same address, so only addresses are checked.
"""

import asyncio
import logging
import socket
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Protocol, TypeAlias

from db.concurrency.daemon_thread import in_daemon_thread
from db.concurrency.fair_slots import FairSlots
from db.errors import BadInput, Forbidden, Unavailable
from db.postgres.own_cluster import OwnCluster

log = logging.getLogger(__name__)

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

RESOLVE_TIMEOUT_S = 5.0
LOOKUPS_AT_ONCE = 16
MAX_ADDRESSES = 4
_NAT64 = IPv6Network("64:ff9b::/96")
# Metadata services of clouds, which return credentials, and addresses that identify no host.
_NEVER = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("100.100.100.200/32", "168.63.129.16/32"),
            *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64", "fd00:ec2::/32"),
            *("fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
            *("2001::/32", "64:ff9b:1::/48", "::ffff:0:0:0/96"),
        ),
    )
)


class Lookup(Protocol):
    """Returns the addresses of a name, in the order in which to try them."""

    async def __call__(self, host: str, /) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """The networks that HOWDAH_TARGETS allows."""

    networks: tuple[Network, ...] | None = None
    """The allowed networks. None allows public addresses, and private ones with `private`."""
    private: bool = False

    @classmethod
    def parse(cls, text: str | None, *, private_by_default: bool) -> "Reach":
        words = [word for word in (text or "").replace(",", " ").split() if word]
        if not words:
            return cls(private=private_by_default)
        if words in (["public"], ["private"]):
            return cls(private=words == ["private"])
        try:
            return cls(networks=tuple(ip_network(word, strict=False) for word in words))
        except ValueError:
            raise BadInput(
                "HOWDAH_TARGETS is neither public, private nor a list of networks.",
                hint="Set public, private, or a list such as 10.0.0.0/8,192.168.1.0/24.",
            ) from None

    def allows(self, address: Address) -> bool:
        address = _embedded_ipv4(address)
        if any(address in network for network in _NEVER):
            return False
        if self.networks is not None:
            return any(address in network for network in self.networks)
        return self.private or address.is_global


class Targets:
    """Resolves hosts to addresses that the policy allows."""

    def __init__(
        self,
        reach: Reach,
        *,
        own: Iterable[tuple[str, int]] = (),
        own_cluster: OwnCluster | None = None,
        resolve_name: Lookup | None = None,
    ) -> None:
        """`own` holds the addresses of Howdah's own database, which are never allowed.

        `own_cluster` recognizes it behind other addresses, once connected.
        """
        self.own_cluster = own_cluster
        self._reach = reach
        self._own = tuple(own)
        self._own_addresses: dict[str, set[Address]] = {}
        """Of the last look-up that succeeded, by host."""
        self._resolve_name = resolve_name or self._resolve_by_system
        self._slots = FairSlots("look-ups of names", total=LOOKUPS_AT_ONCE)

    def close(self) -> None:
        self._slots.cancel_work()

    async def resolve(self, host: str, port: int, *, user: Hashable = None) -> list[str]:
        """Returns checked addresses, in the order in which to try them.

        Raises:
            Forbidden: the policy does not allow one of them.
            Unavailable: the host was not found, or could not be compared with our own database.
        """
        if host.startswith(("/", "@")):
            raise target_forbidden(host)
        addresses = await self._addresses(host, user)
        if not all(self._reach.allows(address) for address in addresses):
            raise target_forbidden(host)
        for own_host, own_port in self._own:
            if port == own_port and await self._is_own(own_host, addresses):
                raise target_forbidden(host)
        return [str(address) for address in addresses[:MAX_ADDRESSES]]

    async def _addresses(self, host: str, user: Hashable = None) -> list[Address]:
        literal = host.removeprefix("[").removesuffix("]")
        try:
            return [ip_address(literal)]
        except ValueError:
            pass  # a name, or a spelling that only the system parses
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                # A user may ask for many names whose name server takes its time.
                texts = await self._slots.run(user, lambda: self._resolve_name(literal))
                found = [ip_address(text) for text in texts]
        except (OSError, ValueError, TimeoutError):
            found = []
        if not found:
            raise Unavailable(
                f"The host {host} was not found.",
                hint="Check its spelling; use an SSH tunnel for a name of a private network.",
                field="host",
            )
        return list(dict.fromkeys(found))

    async def _resolve_by_system(self, host: str) -> Sequence[str]:
        # A name server that does not respond delays no other work, nor the end of the process.
        found = await in_daemon_thread(
            partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM), name="names"
        )
        return [str(place[0]) for *_, place in found]

    async def _is_own(self, own_host: str, addresses: Sequence[Address]) -> bool:
        """If the database is on this machine, all addresses of this machine count as its own."""
        own = await self._look_up_own(own_host)
        wanted = set(map(_embedded_ipv4, addresses))
        return bool(own & wanted) or (any(map(_is_here, own)) and any(map(_is_here, wanted)))

    async def _look_up_own(self, own_host: str) -> set[Address]:
        """Returns the last known addresses if the look-up fails, which users can bring about."""
        try:
            found = await self._addresses(own_host)
        except Unavailable as error:
            log.warning("the host %s of Howdah's own database was not found", own_host)
            if own_host not in self._own_addresses:
                raise _not_compared() from error
        else:
            self._own_addresses[own_host] = set(map(_embedded_ipv4, found))
        return self._own_addresses[own_host]


def _embedded_ipv4(address: Address) -> Address:
    """Extracts the IPv4 address that an IPv6 address embeds, to compare it.

    Connections use the address as it is: behind NAT64, the IPv4 address itself has no route.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    packed = address.packed
    if address in _NAT64 or (not any(packed[:12]) and any(packed[12:15])):
        return IPv4Address(packed[12:])
    return address


def _is_here(address: Address) -> bool:
    """Whether the address belongs to this machine: a socket can be bound to no other."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def target_forbidden(host: str) -> Forbidden:
    return Forbidden(
        f"Howdah may not connect to {host}.",
        hint="Ask the operator to allow its network in HOWDAH_TARGETS. Howdah's own database, "
        "UNIX sockets and link-local addresses are never allowed.",
        field="host",
    )


def _not_compared() -> Unavailable:
    return Unavailable(
        "Howdah cannot tell whether this is its own database, to which it never connects.",
        hint="Try again later. The operator finds the host that has no address in the log.",
        field="host",
    )
