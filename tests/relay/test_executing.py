"""What is sent for executions of a prepared statement, by whichever way they go."""

from __future__ import annotations

from typing import Any

import pytest

from rdsproxy.protocol.attributes import with_count
from rdsproxy.protocol.framing import MAX_PAYLOAD, frame
from rdsproxy.relay import preparing
from rdsproxy.relay.relay import Relay
from rdsproxy.session.prepared import Copies
from rdsproxy.session.session import Session
from tests.fuzz.streams import packet
from tests.fuzz.test_answers import OK, Client, Opened
from tests.relay.test_killing import FORM, STATES, Pool

HERE = (1).to_bytes(4, "little")
"""The statement's id, as the client knows it."""
THERE = (4711).to_bytes(4, "little")
"""... and as the server does."""
PREPARED = packet(b"\0" + THERE + b"\1\0\1\0\0\0\0", 1) + packet(b"\3def", 2) + packet(b"\3def", 3)
HEAD = b"\0\1\0\0\0"
TYPES = b"\xfd\0"


class Scene:
    """A session that has prepared a statement with one parameter, and the connection that it is on."""

    def __init__(self) -> None:
        opened = Opened()
        self.connection = opened.connection
        self.connection.copies = Copies(10)
        pool: Any = Pool(self.connection)
        self.connection.pool = pool
        self.client = Client()
        self.session = Session(STATES, STATES.fresh)
        self.relay = Relay(self.client, pool, self.connection.key, FORM, self.session)
        self._do(preparing.prepare, b"\x16SELECT ?")
        self.connection.dataReceived(PREPARED)

    def _do(self, handler: Any, payload: bytes) -> None:
        handler(self.client, self.relay, frame(payload), payload)

    def execute(self, *parts: bytes) -> bytes:
        """Execute with what follows the id; give what the server is sent for it."""
        transport: Any = self.connection.transport
        transport.clear()
        self._do(preparing.execute, b"".join((b"\x17", HERE, *parts)))
        sent = bytes(transport.value())
        self.connection.dataReceived(OK)
        assert self.client.got[-1] == "ready"
        return sent


@pytest.mark.parametrize("has_attributes", [False, True])
@pytest.mark.parametrize("size", [3, MAX_PAYLOAD - 20, MAX_PAYLOAD, 2 * MAX_PAYLOAD + 5])
def test_types_and_then_none(size: int, has_attributes: bool) -> None:
    """The id is the server's, and a connection with query attributes is told how many parameters there are."""
    scene = Scene()
    scene.connection.has_attributes = has_attributes
    value = b"\xfe" + size.to_bytes(8, "little") + bytes(size)
    for parts in ((HEAD, b"\0\1", TYPES, value), (HEAD, b"\0\0", value), (HEAD, b"\0\0", value)):
        expected = b"".join((b"\x17", THERE, *parts))
        assert scene.execute(*parts) == frame(with_count(expected, 1) if has_attributes else expected)


def test_types_that_the_server_does_not_know_any_more() -> None:
    """They are told again with the next execution, which does not bring them."""
    scene = Scene()
    scene.execute(HEAD, b"\0\1", TYPES, b"\1a")
    scene.connection.copies.doubt_types()
    assert scene.execute(HEAD, b"\0\0", b"\1b") == frame(b"".join((b"\x17", THERE, HEAD, b"\0\1", TYPES, b"\1b")))
    assert scene.execute(HEAD, b"\0\0", b"\1c") == frame(b"".join((b"\x17", THERE, HEAD, b"\0\0", b"\1c")))


def test_what_is_cut_short_is_the_server_s_to_refuse() -> None:
    scene = Scene()
    for parts in ((), (HEAD[:1],), (HEAD,), (HEAD, b"\0")):
        assert scene.execute(*parts) == frame(b"".join((b"\x17", THERE, *parts)))


def test_executions_are_counted() -> None:
    scene = Scene()
    for number in range(1, 4):
        scene.execute(HEAD, b"\0\0", b"\1a")
        assert scene.client.queries == number
