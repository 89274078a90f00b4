"""One connection to a database: lent to a session, asked by the proxy itself, or idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self
from typing import Protocol as Shape
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as TransportLost
from twisted.python.failure import Failure

from rdsproxy.protocol import commands
from rdsproxy.protocol.attributes import NONE, with_attributes
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import MAX_PAYLOAD, PacketReader, frame, sequence_after
from rdsproxy.protocol.reply import DONE, FIRST, ClientForm, Reply
from rdsproxy.protocol.results import Result, read_result
from rdsproxy.session.leaving import Left
from rdsproxy.session.prepared import Copies, Copy
from rdsproxy.session.state import State, States
from rdsproxy.wire import Wire, Wires

if TYPE_CHECKING:
    from rdsproxy.pool.pool import Pool

OWN_FORM: Final = ClientForm(eof=False, track=True, local_files=False)
"""The form of replies to the proxy itself: as the server sends them."""

MAX_OWN_PACKET: Final = 1 << 20  # bytes; what a server says before and between clients' statements is small
MAX_OWN_REPLY: Final = 1 << 24


class ConnectionLostError(Exception):
    """The database closed the connection, or sent what no database sends."""


class PoolKey:
    """Connections of one key are interchangeable. Equal ones are one object: each loan looks its key up."""

    __slots__ = ("__weakref__", "found_rows", "user")

    user: str
    found_rows: bool
    """CLIENT_FOUND_ROWS: UPDATE counts the rows it found, not those it changed."""

    def __new__(cls, user: str, *, found_rows: bool) -> Self:
        """Give the one for these."""
        key = _keys.get((user, found_rows))
        if key is None:
            key = _keys[user, found_rows] = super().__new__(cls)
            key.user, key.found_rows = user, found_rows
        return key

    def __repr__(self) -> str:
        """As it is made."""
        return f"PoolKey({self.user!r}, found_rows={self.found_rows})"


_keys: WeakValueDictionary[tuple[str, bool], Any] = WeakValueDictionary()


class Borrower(Shape):
    """Whoever has a connection on loan."""

    sequence: int
    """The sequence id that it expects of the reply's first packet."""
    attributes: bytes | None
    """Those of its COM_QUERY, None if they are in it."""

    def deliver(self, data: bytes | bytearray) -> None:
        """Take a part of the reply."""

    def replied(self) -> None:
        """The reply is complete, or the server waits for a file (`connection.reply.state` tells)."""

    def connection_broken(self, why: str) -> None:
        """The connection is gone."""

    def give_up(self, connection: DatabaseConnection) -> None:
        """Give the connection back to the pool, unless it is in use."""

    def pause(self) -> None:
        """The database reads slowly: stop sending to it."""

    def resume(self) -> None:
        """It has caught up."""


class DatabaseConnection(Wire):
    """Opened and logged in by `login.connect`; then its pool lends it."""

    __slots__ = (
        "_on_lost",
        "_packet",
        "_questions",
        "_raw",
        "_reader",
        "borrower",
        "copies",
        "fresh",
        "has_attributes",
        "idle_since",
        "key",
        "last_borrower",
        "left",
        "opened",
        "pool",
        "reply",
        "secure",
        "state",
        "states",
        "targeted",
        "thread_id",
        "used",
    )

    def __init__(
        self, wires: Wires, key: PoolKey, opened: float, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> None:
        super().__init__(wires)
        self.key = key
        self.opened = opened
        """Reactor time, in seconds."""
        self.thread_id = 0
        """The server's own id of this connection."""
        self.secure = False
        """It speaks TLS."""
        self.pool: Pool
        """Lends it; like what follows known once it is logged in."""
        self.has_attributes = False
        """CLIENT_QUERY_ATTRIBUTES was agreed on: each COM_QUERY has to have them."""
        self.states: States
        """The states of its sessions."""
        self.fresh: State
        """What a new connection of this target is set to."""
        self.reply = Reply()
        self.state: State | None = None
        """What the connection's session is set to; None while that is not known."""
        self.copies = Copies(0)
        """The prepared statements that it has."""
        self.left: Left | None = None
        """What the session that used it last has left there, and nobody has taken yet."""
        self.borrower: Borrower | None = None
        self.last_borrower: object = None
        """Whose statement ran last, as long as nothing else has run since; `Relay.behind` if ROW_COUNT() is another."""
        self.targeted = 0
        """How many KILL QUERY for it have not been answered."""
        self.used = False
        """Lent since the pool looked last."""
        self.idle_since = opened
        """About when it was lent last, as the pool noticed it; reactor time, in seconds."""
        self._on_lost = on_lost
        self.receive = self._read_packets
        self._reader = PacketReader(MAX_OWN_PACKET)
        self._packet: Deferred[bytes] | None = None
        self._questions: deque[_Questions] = deque()
        self._raw = bytearray()

    # -- while logging in ------------------------------------------------------------------------------------------

    def packet(self) -> Deferred[bytes]:
        """Give the next payload that the server sends. For the login only."""
        waiting: Deferred[bytes] = Deferred()
        if self.lost:
            waiting.errback(ConnectionLostError("the connection was closed before"))
            return waiting
        self._packet = waiting
        self._read_packets(b"")
        return waiting

    def send_packet(self, payload: bytes) -> None:
        """Send `payload` with the sequence id that is due. For the login only."""
        sequence = self._reader.sequence
        self.write(frame(payload, sequence))
        self._reader.sequence = (sequence + 1) & 0xFF

    def begin_command(self) -> None:
        """Number packets from 0 again. For the login only."""
        self._reader.sequence = 0

    def _read_packets(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        waiting = self._packet
        try:
            if waiting is None:
                if reader.pending > MAX_OWN_PACKET:
                    raise ProtocolError("more bytes than any login has")
                return
            payload = reader.next()
        except ProtocolError as error:
            self._break(str(error))
            return
        if payload is not None:
            self._packet = None
            waiting.callback(payload)

    def logged_in(self) -> None:
        """The login is over: from here on the server only answers."""
        self.receive = self._relay

    def log_in_again(self) -> None:
        """Go back to reading packets one by one, for COM_CHANGE_USER."""
        self.receive = self._read_packets
        self._reader.sequence = 0

    # -- questions of the proxy itself -----------------------------------------------------------------------------

    def ask(self, packets: Sequence[bytes], expect: int = FIRST) -> Deferred[list[Result]]:
        """Send these commands in one write and give their results. Fails with ConnectionLostError.

        Each reply begins in state `expect` of `protocol.reply`. A result may carry the server's error: that is for the
        caller to judge.
        """
        questions = _Questions(len(packets), expect)
        if self.lost:
            questions.answered.errback(ConnectionLostError("the connection was closed before"))
            return questions.answered
        self._questions.append(questions)
        self.last_borrower = None
        if len(self._questions) == 1:
            self.receive = self._read_answers
            self.reply.begin(expect, OWN_FORM)
        if self.has_attributes:
            packets = [with_attributes(packet, NONE) for packet in packets]
        self.write(b"".join(packets))
        return questions.answered

    def _read_answers(self, data: bytes) -> None:
        reply = self.reply
        try:
            while True:
                self._raw += reply.feed(data)
                if len(self._raw) > MAX_OWN_REPLY:
                    raise ProtocolError("more than any answer to the proxy's own commands has")
                if reply.refuses_upload:
                    self.write(reply.refused_upload())
                if reply.state != DONE:
                    return
                result = Result() if reply.statement_id else read_result(bytes(self._raw))
                result.statement_id = reply.statement_id
                self._raw.clear()
                questions = self._questions[0]
                questions.results.append(result)
                rest = reply.rest
                if len(questions.results) == questions.expected:
                    if rest and len(self._questions) == 1:
                        raise ProtocolError("bytes behind its end")
                    self._questions.popleft()
                    if self._questions:
                        reply.begin(self._questions[0].expect, OWN_FORM)
                    else:
                        self.receive = self._relay
                    questions.answered.callback(questions.results)
                    if not self._questions:
                        return  # closed by whoever was told
                else:
                    reply.begin(questions.expect, OWN_FORM)
                if not rest:
                    return
                data = rest
        except ProtocolError as error:
            self._break(f"unreadable reply: {error}")

    def ask_after_left(self, packets: Sequence[bytes]) -> Deferred[list[Result]]:
        """Do as `ask`, but first, in the same write, take for the last session what it has left here.

        That is taken even if whoever asks does not wait for the answers.
        """
        left = self.left
        questions = [] if left is None else left.questions()

        def answered(results: list[Result]) -> list[Result]:
            for (_, take), result in zip(questions, results, strict=False):
                if result.err is None:
                    take(result)
            self.left = None
            if left is not None:
                left.done()
            return results[len(questions) :]

        told: Deferred[list[Result]] = Deferred()
        if not questions and not packets:
            told.callback(answered([]))
        else:
            asked = self.ask([*(packet for packet, _ in questions), *packets])
            asked.addCallback(answered).addCallbacks(told.callback, told.errback)
        return told

    def add_copy(self, key: Hashable, number: int) -> Copy:
        """Note the statement that the server has just prepared, and close those that it replaces or drives out."""
        copy, closing = self.copies.add(key, number)
        for packet in closing:
            self.write(packet)
        return copy

    # -- on loan ---------------------------------------------------------------------------------------------------

    def lend(self, borrower: Borrower) -> None:
        """Make `borrower` the one whose commands run here."""
        self.borrower = borrower
        self.last_borrower = borrower
        self.used = True

    # Has a twin in shortcut/sending.c.
    def run(self, packets: bytes, expect: int, form: ClientForm) -> None:
        """Send a command of the borrower, whose reply begins in state `expect` of `protocol.reply`."""
        self.reply.begin(expect, form)
        if self.has_attributes:
            assert self.borrower is not None
            attributes = self.borrower.attributes
            if attributes is not None:
                packets = with_attributes(packets, attributes)
        if len(packets) > MAX_PAYLOAD:
            assert self.borrower is not None
            self.reply.follow(sequence_after(packets), self.borrower.sequence)
        write = self.write
        write(packets)

    # Has a twin in shortcut/replies.c.
    def _relay(self, data: bytes) -> None:
        reply = self.reply
        borrower = self.borrower
        if reply.state == DONE or borrower is None:
            # A server that closes an idle connection may say why first; whatever it says, nobody waits for it.
            self._break("the database spoke without being asked")
            return
        try:
            out = reply.feed(data)
        except ProtocolError as error:
            self._break(f"unreadable reply: {error}")
            return
        if out:
            deliver = borrower.deliver
            deliver(out)
        if reply.plain:
            borrower.replied()
        elif reply.state >= DONE:
            if reply.rest and reply.state == DONE:
                self._break("bytes behind the end of a reply")
                return
            borrower.replied()

    @property
    def _quiet(self) -> bool:
        """The server has answered all that it was asked."""
        return self.receive == self._relay and self.reply.state == DONE

    # -- the transport ---------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The database reads slowly."""
        if self.borrower is not None:
            self.borrower.pause()

    def resumeProducing(self) -> None:
        """The database has caught up."""
        if self.borrower is not None:
            self.borrower.resume()

    def ended(self) -> None:
        """Be lent to nobody from here on."""
        self._break("the database closed the connection")

    def closed(self, reason: Failure) -> None:
        """Tell everyone who waits."""
        why = "the database closed the connection"
        if not reason.check(ConnectionDone, TransportLost, ConnectionAborted):
            why += f": {reason.getErrorMessage()}"
        self._break(why)

    def _break(self, why: str) -> None:
        """Be done with this connection, once."""
        on_lost, self._on_lost = self._on_lost, _nothing
        self.receive = _ignore
        self.abort()
        self.lost = True
        waiting, self._packet = self._packet, None
        questions = list(self._questions)
        self._questions.clear()
        borrower, self.borrower = self.borrower, None
        on_lost(self, why)
        # The borrower first: told of an answer that will not come it may go on at once, with another connection.
        if borrower is not None:
            borrower.connection_broken(why)
        left, self.left = self.left, None
        if left is not None:
            left.done()
        if waiting is not None:
            waiting.errback(ConnectionLostError(why))
        for asked in questions:
            asked.answered.errback(ConnectionLostError(why))

    def time_out(self) -> None:
        """Give up a login that takes too long."""
        self._break("no answer in time")

    def cut(self, why: str) -> None:
        """Be lost, as if the database had closed the connection."""
        if not self.lost:
            self._break(why)

    def abandon(self) -> None:
        """Close after a failed login, of which the caller knows."""
        self._on_lost = _nothing
        self._break("")

    def retire(self, then: Callable[[], None]) -> None:
        """Say goodbye, and call `then` once the server has closed, which then counts one connection less."""
        if self.lost:
            then()
            return
        self._on_lost = lambda connection, why: then()
        self.receive = _ignore
        self.write(commands.QUIT_PACKET)
        self.close_later()

    def await_end(self, timeout: float) -> None:
        """Drop whatever the server says until it closes, for `timeout` seconds at most."""
        self.borrower = None
        self.receive = _ignore
        self.close_later(timeout)

    def discard(self) -> None:
        """Close without a word to the borrower: its state is not known, or it is not needed any more."""
        self.borrower = None
        self._on_lost, on_lost = _nothing, self._on_lost
        if self._quiet and not self.lost:
            self.write(commands.QUIT_PACKET)
            self.receive = _ignore
            self.close()
            on_lost(self, "")
        else:
            self._on_lost = on_lost
            self._break("")


class _Questions:
    """Commands sent together and the results so far."""

    __slots__ = ("answered", "expect", "expected", "results")

    def __init__(self, expected: int, expect: int) -> None:
        self.expected = expected
        self.expect = expect
        self.results: list[Result] = []
        self.answered: Deferred[list[Result]] = Deferred()


def _nothing(connection: DatabaseConnection, why: str) -> None:
    pass


def _ignore(data: bytes) -> None:
    pass
