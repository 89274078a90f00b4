"""A database connection that is told more, less or other than it asked for."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.pool.counts import Counts
from rdsproxy.protocol import commands
from rdsproxy.protocol.reply import FIRST, ClientForm
from rdsproxy.protocol.responses import Err
from rdsproxy.relay.relay import Relay
from rdsproxy.session.session import Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers
from rdsproxy.wire import Wires
from tests.fuzz.streams import packet

OK = packet(b"\0\0\0\x02\0\0\0", 1)
ASKED = [commands.query(b"SELECT 1"), commands.query(b"SELECT 2")]


class Borrower:
    """Whoever has the connection, and what it hears, in order."""

    sequence = 1
    attributes: bytes | None = None

    def __init__(self) -> None:
        self.heard: list[object] = []

    def deliver(self, data: bytes | bytearray) -> None:
        """Note a part of the reply."""
        self.heard.append(bytes(data))

    def replied(self) -> None:
        """Note the end."""
        self.heard.append("replied")

    def connection_broken(self, why: str) -> None:
        """Note the loss."""
        self.heard.append("broken")

    def give_up(self, connection: DatabaseConnection) -> None:
        """Nobody asks."""

    def pause(self) -> None:
        """Nothing."""

    def resume(self) -> None:
        """Nothing."""


class Opened:
    """A connection that is logged in, and what its pool hears."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.connection = DatabaseConnection(
            Wires(None, Clock()), PoolKey("app", found_rows=False), 0.0, lambda _, why: self.lost.append(why)
        )
        transport: Any = StringTransport()
        self.connection.makeConnection(transport)  # type: ignore[no-untyped-call]
        self.connection.logged_in()
        self.results: list[object] = []

    def ask(self) -> None:
        """Ask two things."""
        self.connection.ask(ASKED).addBoth(self.results.append)

    def failed(self) -> bool:
        """Tell whether the question has failed, once."""
        (result,) = self.results
        return isinstance(result, Failure) and result.check(ConnectionLostError) is not None


def test_answers_that_come_together_and_byte_by_byte() -> None:
    for size in (1, 22):
        opened = Opened()
        opened.ask()
        data = OK + OK
        for start in range(0, len(data), size):
            assert opened.results == []
            opened.connection.dataReceived(data[start : start + size])
        assert len(opened.results) == 1
        assert opened.lost == []


@pytest.mark.parametrize("more", [b"x", OK, OK * 3])
def test_more_than_was_asked_for_ends_the_connection(more: bytes) -> None:
    opened = Opened()
    opened.ask()
    opened.connection.dataReceived(OK + OK + more)
    assert opened.failed()
    assert len(opened.lost) == 1


def test_answers_do_not_reach_who_asked_if_more_comes_with_them() -> None:
    # It could run its client's statement at once, and take the rest for the reply.
    opened = Opened()
    borrower = Borrower()

    def run(_: object) -> None:
        opened.connection.lend(borrower)
        opened.connection.run(ASKED[0], FIRST, ClientForm(eof=False, track=True, local_files=False))

    opened.connection.ask(ASKED).addCallbacks(run, opened.results.append)
    opened.connection.dataReceived(OK * 3)
    assert borrower.heard == []
    assert opened.failed()


def test_one_who_asks_a_closed_connection_is_not_left_waiting() -> None:
    opened = Opened()
    opened.connection.connectionLost(Failure(ConnectionDone()))
    opened.ask()
    assert opened.failed()
    packets: list[object] = []
    opened.connection.packet().addBoth(packets.append)
    assert isinstance(packets[0], Failure)


def test_the_borrower_is_told_of_a_loss_before_its_questions_fail() -> None:
    # Told the other way round it would go on with this connection.
    opened = Opened()
    borrower = Borrower()
    opened.connection.lend(borrower)
    opened.connection.ask(ASKED).addErrback(lambda _: borrower.heard.append("failed"))
    opened.connection.connectionLost(Failure(ConnectionDone()))
    assert borrower.heard == ["broken", "failed"]


def test_a_reply_with_something_behind_it_reaches_the_client_and_ends_the_connection() -> None:
    opened = Opened()
    borrower = Borrower()
    opened.connection.lend(borrower)
    opened.connection.run(ASKED[0], FIRST, ClientForm(eof=False, track=True, local_files=False))
    opened.connection.dataReceived(OK + b"x")
    assert borrower.heard == [OK, "broken"]


class Client:
    """A client as its relay sees it; answers are kept in order."""

    id = 1
    queries = 0

    def __init__(self) -> None:
        self.log: Any = structlog.get_logger()
        self.got: list[object] = []

    def write(self, data: bytes | bytearray) -> None:
        """Keep a part of a reply."""
        self.got.append(bytes(data))

    def send_error(self, err: Err, sequence: int = 1) -> None:
        """Keep an error of the proxy's."""
        self.got.append((err.code, sequence))

    def send_ok(self, eof: bool = False) -> None:
        """Keep an OK of the proxy's."""
        self.got.append("ok")

    def sibling(self, number: int) -> Relay | None:
        """There are no others."""
        return None

    def cut(self, err: Err | None = None, reason: str = "killed") -> None:
        """Not for this client."""
        raise AssertionError

    def ready(self) -> None:
        """Keep the end of a command."""
        self.got.append("ready")

    def begin_upload(self) -> None:
        """Not for this client."""
        raise AssertionError

    def hold_input(self) -> None:
        """Nothing."""

    def resume_input(self) -> None:
        """Nothing."""

    def fail(self, why: str) -> None:
        """Keep the disconnect."""
        self.got.append(why)


class OneConnection:
    """A pool that has one connection to lend."""

    def __init__(self, connection: DatabaseConnection) -> None:
        self.connection = connection
        self.counts = Counts()

    def doubt(self) -> None:
        """Nothing."""

    def take(self, key: PoolKey, state: object) -> DatabaseConnection:
        """Lend it."""
        return self.connection


@pytest.mark.parametrize(
    ("said", "got"),
    [
        (b"", [(2013, 1), "ready"]),
        (packet(b"\x01", 1) + packet(b"\x03def", 2), ["...", (2013, 3), "ready"]),
        (packet(b"\x01", 1) + packet(b"\x03def", 2) + b"\x09\0\0\x03\x01", ["...", "in the middle of a packet"]),
        (OK + b"x", [OK, "ready"]),
        # A refused upload in a chain: the client had its one error, and there is no second.
        (packet(b"\xfbname", 1), [(2013, 1), "ready"]),
        (packet(b"\xfbname", 1) + packet(b"\0\0\0\x0a\0\0\0", 3) + packet(b"\x01", 4), ["1148", "ready"]),
    ],
)
def test_a_database_that_is_lost_ends_the_command_once(said: bytes, got: list[object]) -> None:
    opened = Opened()
    client = Client()
    states = States({}, {}, Lexers())
    pool: Any = OneConnection(opened.connection)
    form = ClientForm(eof=False, track=True, local_files=False)
    relay = Relay(client, pool, opened.connection.key, form, Session(states, states.fresh))
    opened.connection.pool = pool
    relay.run(commands.query(b"DO 1"))
    for piece in said.partition(packet(b"\xfbname", 1)):
        if piece and not opened.lost:
            opened.connection.dataReceived(piece)
    if not opened.lost:
        opened.connection.connectionLost(Failure(ConnectionDone()))
    heard: list[object] = []
    for item in client.got:
        if isinstance(item, bytes) and item != OK:
            heard.append("1148" if b"\x7c\x04#42000" in item else "...")
        elif isinstance(item, str) and item != "ready":
            heard.append("in the middle of a packet" if "middle of a packet" in item else item)
        else:
            heard.append(item)
    assert heard == got


def test_an_answer_without_end_is_given_up() -> None:
    opened = Opened()
    opened.ask()
    opened.connection.dataReceived(packet(b"\x01", 1) + packet(b"\x03def", 2))
    rows = packet(b"\xfd\0\0\x10" + bytes(1 << 20), 3)
    for _ in range(20):
        opened.connection.dataReceived(rows)
    assert opened.failed()


def test_what_nobody_asked_for_ends_an_idle_connection() -> None:
    opened = Opened()
    opened.connection.dataReceived(OK)
    assert len(opened.lost) == 1
