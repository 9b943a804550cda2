"""The number of sockets of each holder."""

from graph.transport.limits.socket_limit import SocketLimit


def test_socket_of_a_holder_is_counted_once_until_it_ends() -> None:
    sockets = SocketLimit(1)
    slot = sockets.enter("ada")
    assert slot is not None
    assert sockets.enter("ada") is None
    of_bob = sockets.enter("bob")
    assert of_bob is not None
    slot.leave()
    slot.leave()
    assert sockets.enter("ada")
    assert sockets.enter("ada") is None
    of_bob.leave()
    assert set(sockets._open) == {"ada"}  # it remembers no holder for ever
