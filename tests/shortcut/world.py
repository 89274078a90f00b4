"""Clients, a pool and its connections, without sockets: what the twins and the methods are tried in."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.backend.target import Facts
from rdsproxy.credentials import StaticCredentials
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.frontend.door import Door
from rdsproxy.interfaces import Credential
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.pool.route import Route
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.reply import DONE, ClientForm
from rdsproxy.relay.preparing import Again
from rdsproxy.relay.relay import Relay
from rdsproxy.session.prepared import Copies, Statement
from rdsproxy.session.session import Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import UNCOUNTED, Lexers
from rdsproxy.wire import Wires
from tests.doors import door
from tests.transports import ClosingTransport

KEY = PoolKey("app", found_rows=False)
FACTS = Facts("10.11.6-MariaDB", 0, 45, 100, 1 << 20, b"*", {}, {})
SELECT, UPDATE = b"SELECT v FROM t WHERE id = ?", b"UPDATE t SET v = 1 WHERE id = ?"
TYPES = b"\x03\x00"  # of one parameter


class Database:
    """A connector whose connections are there at once."""

    def __init__(self, wires: Wires, clock: Clock) -> None:
        self.wires = wires
        self.clock = clock
        self.states = States({}, {}, Lexers())
        self.opened: list[DatabaseConnection] = []

    def connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> Deferred[DatabaseConnection]:
        connection = DatabaseConnection(self.wires, key, self.clock.seconds(), on_lost)
        connection.makeConnection(ClosingTransport(connection, self.clock))  # type: ignore[no-untyped-call]
        connection.logged_in()
        connection.thread_id = len(self.opened) + 1
        pool.learned(key, FACTS, self.states)
        connection.pool = pool
        connection.states = self.states
        connection.fresh = connection.state = self.states.fresh
        connection.copies = Copies(4)
        self.opened.append(connection)
        done: Deferred[DatabaseConnection] = Deferred()

        def succeed() -> None:
            if not done.called:
                done.callback(connection)

        self.clock.callLater(0, succeed)
        return done

    def reset(self, connection: DatabaseConnection) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def clean() -> None:
            if not done.called:
                connection.state = self.states.fresh
                connection.copies.forget()
                done.callback(None)

        self.clock.callLater(0.01, clean)
        return done

    start_over = reset


class World:
    """Some clients of one user before a pool of few connections, which have their prepared statements.

    `form`: of the replies to clients. `asks`: for FOUND_ROWS(), as long as that was not in vain too often.
    """

    def __init__(self, form: ClientForm, *, asks: bool = False, clients: int = 4, connections: int = 2) -> None:
        self.clock = clock = Clock()
        wires = Wires(None, clock)
        self.database = Database(wires, clock)
        connector: Any = self.database
        self.pool = Pool(Limits(100, connections, 50, 5.0, 100), connector, clock)
        self.pool.start(lambda: (KEY,))
        clock.advance(0)
        route = Route(self.pool.known, self.pool.counts, 5.0, clock)
        route.serve((self.pool,))
        credentials = StaticCredentials([Credential("app", "x")])
        self.door = door(self.pool.known, Accounts(credentials), wires, max_connections=100)
        self.clients = [self._client(number, route, form) for number in range(clients)]
        self.errors: list[str] = []
        """What was raised by whatever has been done."""
        self.database.states.asks_found_rows.on = asks
        self._open(connections)
        self._prepare_everywhere()

    def _client(self, number: int, route: Route, form: ClientForm) -> ClientConnection:
        client = ClientConnection(self.door, route, behind_balancer=False)
        client.makeConnection(ClosingTransport(client, self.clock))  # type: ignore[no-untyped-call]
        states = self.database.states
        session = Session(states, states.fresh)
        for statement_id, (text, traits) in enumerate(((SELECT, 0), (UPDATE, UNCOUNTED)), 1):
            statement = Statement(statement_id, text, states.fresh, traits, 1)  # type: ignore[arg-type]
            statement.run_again_by(Again(statement).launch)
            session.statements.add(statement)
        client.logged_in(Relay(client, route, KEY, form, session), b"")
        client.id = number
        client.transport.clear()  # the greeting, in which some bytes are random
        return client

    def do(self, call: Callable[..., object], *arguments: object) -> None:
        """Do something, and go on with the reactor's next turn."""
        try:
            call(*arguments)
            self.clock.advance(0)
        except Exception as error:
            self.errors.append(repr(error))

    def send(self, client: int, data: bytes) -> None:
        """Have a client send this."""
        if not self.clients[client].lost:
            self.do(self.clients[client].dataReceived, data)

    def query(self, client: int, text: bytes) -> None:
        self.send(client, commands.query(text))

    def execute(self, client: int, number: int, *, bind: bool, flags: int = 0) -> None:
        """Execute a prepared statement with one parameter, 7; `bind`: tell its type."""
        head = bytes((commands.STMT_EXECUTE,)) + number.to_bytes(4, "little") + bytes((flags, 1, 0, 0, 0, 0))
        self.send(client, frame(head + (b"\x01" + TYPES if bind else b"\x00") + (7).to_bytes(4, "little")))

    def _prepare_everywhere(self) -> None:
        """Have each statement told its types by its client, and copied to each connection."""
        statements: list[Statement] = []
        for client in self.clients:
            assert client.relay is not None
            statements = list(client.relay.session.statements.by_id.values())
            for statement in statements:
                statement.bind(bytes(11) + b"\x01" + TYPES, self.database.states.fresh.charset)
        for connection in self.database.opened:
            for number, statement in enumerate(statements, 20):
                connection.add_copy(statement.key, number).told = statement.told

    def _open(self, connections: int) -> None:
        """Have so many connections opened, by as many clients that ask for one at a time."""
        for client in range(connections):
            self.query(client, b"SELECT 1")
        for number in range(connections):
            self.reply(number, plain_ok())

    def reply(self, connection: int, data: bytes) -> None:
        """Have the database send this to whoever waits for a reply on that connection."""
        if connection < len(self.database.opened):
            database = self.database.opened[connection]
            if not database.lost and database.reply.state != DONE:
                self.do(database.dataReceived, data)

    def answer(self, client: int, data: bytes) -> None:
        """Have the database send this to a client that has a connection."""
        relay = self.clients[client].relay
        if relay is not None and relay.connection is not None:
            self.reply(self.database.opened.index(relay.connection), data)

    def lose(self, wire: Any) -> None:
        """Have the other side close."""
        if not wire.lost:
            self.do(wire.connectionLost, Failure(ConnectionDone()))

    def said(self) -> list[object]:
        """Give all that clients and databases have been sent, and what was raised."""
        return [[wire.transport.value() for wire in (*self.clients, *self.database.opened)], list(self.errors)]

    def all(self) -> list[object]:
        """Give all that there is by now."""
        return [
            [call.getTime() for call in self.clock.getDelayedCalls()],
            described([*self.clients, *self.database.opened, self.pool]),
        ]


def plain_ok(status: int = 2, affected: int = 0, insert_id: int = 0, warnings: int = 0, header: int = 0) -> bytes:
    """Give the payload of an OK of small numbers, in a packet that is the first of a reply."""
    return frame(ok_payload(status, affected, insert_id, warnings, header), 1)


def ok_payload(status: int, affected: int = 0, insert_id: int = 0, warnings: int = 0, header: int = 0) -> bytes:
    return bytes((header, affected, insert_id)) + status.to_bytes(2, "little") + warnings.to_bytes(2, "little")


def rows(count: int, status: int = 2, warnings: int = 0) -> bytes:
    """Give a reply of one column and so many rows."""
    payloads = [b"\x01", b"\x03def" + bytes(17), *[b"\x01" + b"%d" % (row % 10) for row in range(count)]]
    payloads.append(ok_payload(status, warnings=warnings, header=0xFE))
    return b"".join(frame(payload, number & 0xFF) for number, payload in enumerate(payloads, 1))


# -- what everything is ------------------------------------------------------------------------------------------------


def described(roots: list[Any]) -> list[object]:
    """Give the attributes of these objects and of all that they lead to, in an order that depends on them alone."""
    numbers: dict[int, int] = {}
    found: list[Any] = []

    def name(value: Any) -> object:
        if value is None or isinstance(value, bool | int | float | str | bytes | bytearray):
            return type(value).__name__, int(value) if isinstance(value, int) else value
        if isinstance(value, Mapping | OrderedDict):
            return type(value).__name__, [(name(key), name(item)) for key, item in value.items()]
        if isinstance(value, tuple | list | deque):
            return type(value).__name__, [name(item) for item in value]
        if isinstance(value, set | frozenset):
            return type(value).__name__, len(value)
        if callable(value) and hasattr(value, "__name__"):
            return "call", value.__name__
        if isinstance(value, Door) or not type(value).__module__.startswith("rdsproxy."):
            return "other", type(value).__name__
        if id(value) not in numbers:
            numbers[id(value)] = len(found)
            found.append(value)
        return "object", numbers[id(value)]

    for root in roots:
        name(root)
    done: list[object] = []
    while len(done) < len(found):
        thing = found[len(done)]
        slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
        names = sorted({*slots, *getattr(thing, "__dict__", ())} - {"__weakref__", "__dict__"})
        done.append((type(thing).__name__, [(each, name(getattr(thing, each, "none"))) for each in names]))
    return done
