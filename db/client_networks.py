"""Networks of clients: that of an address, and that of the last request of each user."""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network

REMEMBERED_USERS = 10_000
_networks: dict[Hashable, str] = {}


def network_of(address: str) -> str:
    """Returns the /64 network of an IPv6 address, since one client usually controls all of it."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def remember_network(user: Hashable, network: str) -> None:
    """Call it for a request that needs a slot. `network` is empty if it is not known."""
    _networks.pop(user, None)
    if network:
        _networks[user] = network
    if len(_networks) > REMEMBERED_USERS:
        del _networks[next(iter(_networks))]


def network_of_user(user: Hashable) -> str | None:
    return _networks.get(user)
