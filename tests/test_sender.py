"""Sending to sockets at once: the compiled way and the one in Python do the same."""

from __future__ import annotations

import gc
import socket
import weakref
from typing import Any

import pytest

from rdsproxy import sender
from tests.compiled import compiled_helper
from tests.sockets import received


@pytest.fixture(params=["compiled", "python"])
def make(request: pytest.FixtureRequest) -> Any:
    """Give either class."""
    return sender.SenderPython if request.param == "python" else compiled_helper("rdsproxy._sender").Sender


def test_the_compiled_one_is_in_use() -> None:
    assert sender.Sender is compiled_helper("rdsproxy._sender").Sender


def test_what_there_is_room_for_is_sent_and_the_rest_is_left(make: type[sender.Sender]) -> None:
    left: list[bytes | bytearray] = []
    send = make(left.append)
    own, other = socket.socketpair()
    own.setblocking(False)
    with own, other:
        send.fd = own.fileno()
        send(b"one")
        send(bytearray(b"two"))
        send(b"")
        assert other.recv(100) == b"onetwo"
        assert left == []
        large = bytes(range(256)) * (1 << 16)
        send(large)
        assert send.fd == -1
        (rest,) = left
        assert 0 < len(rest) < len(large)
        other.setblocking(False)
        taken = b"".join(iter(lambda: received(other), b""))
        assert taken + rest == large
        # There is room again, but others may have been told to send the rest.
        send(b"later")
        assert left == [rest, b"later"]
        send.fd = own.fileno()
        send(b"at once")
        assert other.recv(100) == b"at once"


@pytest.mark.parametrize("data", [b"some", bytearray(b"some")])
def test_a_socket_that_is_full_gone_or_closed_takes_nothing(
    make: type[sender.Sender], data: bytes | bytearray
) -> None:
    left: list[bytes | bytearray] = []
    send = make(left.append)
    send(data)
    own, other = socket.socketpair()
    own.setblocking(False)
    with own, other:
        send.fd = own.fileno()
        send(bytes(1 << 24))
        assert send.fd == -1
        left.clear()
        send.fd = own.fileno()
        send(data)
        other.close()
        send.fd = own.fileno()
        send(data)
        number = own.fileno()
    send.fd = number
    send(data)
    assert left == [data] * 3
    assert send.fd == -1


def test_what_cannot_be_sent_is_an_error(make: type[sender.Sender]) -> None:
    send = make(lambda data: None)
    own, other = socket.socketpair()
    with own, other:
        send.fd = own.fileno()
        with pytest.raises(TypeError):
            send("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            send()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            make()  # type: ignore[call-arg]


def test_what_otherwise_raises_gets_through(make: type[sender.Sender]) -> None:
    def otherwise(data: bytes | bytearray) -> None:
        raise ValueError("otherwise")

    with pytest.raises(ValueError, match="otherwise"):
        make(otherwise)(b"data")


def test_one_that_refers_to_itself_can_be_forgotten(make: type[sender.Sender]) -> None:
    class Owner:
        def __init__(self) -> None:
            self.send = make(self.otherwise)

        def otherwise(self, data: bytes | bytearray) -> None:
            """Never called."""

    gone = weakref.ref(Owner())
    gc.collect()
    assert gone() is None
