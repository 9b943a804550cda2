"""The network from which each user has sent the last request that needs a slot."""

from collections.abc import Hashable

REMEMBERED_USERS = 10_000
_networks: dict[Hashable, str] = {}


def remember_network(user: Hashable, network: str) -> None:
    """`network` is an address, or the /64 network of IPv6; empty if it is not known."""
    _networks.pop(user, None)
    if network:
        _networks[user] = network
    if len(_networks) > REMEMBERED_USERS:
        del _networks[next(iter(_networks))]


def network_of_user(user: Hashable) -> str | None:
    return _networks.get(user)
