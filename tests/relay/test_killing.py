"""A connection that a KILL QUERY is meant for stays with its session until the server has answered the KILL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.protocol import commands
from rdsproxy.protocol.reply import ClientForm
from rdsproxy.protocol.responses import Err
from rdsproxy.relay.relay import Relay
from rdsproxy.session.identity import FIRST_ID
from rdsproxy.session.session import Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers, Trait
from tests.fuzz.streams import packet
from tests.fuzz.test_answers import OK, Opened
from tests.fuzz.test_answers import Client as Quiet

FORM = ClientForm(eof=False, track=True, local_files=False)
STATES = States({}, {}, Lexers())
INTERRUPTED = packet(b"\xff\x25\x05#70100Query execution was interrupted", 1)
KILLER, VICTIM = FIRST_ID, FIRST_ID + 1


class Pool:
    """Lends one connection; the test answers each KILL."""

    def __init__(self, connection: DatabaseConnection) -> None:
        self.connection = connection
        self.known = SimpleNamespace(facts=SimpleNamespace(is_mariadb=True))
        self.killer = self
        self.heard: list[object] = []
        self.kills: list[Deferred[Err | None]] = []

    def take(self, key: PoolKey, state: object) -> DatabaseConnection:
        """Lend it."""
        return self.connection

    def give_back(self, connection: DatabaseConnection) -> None:
        """Note the end of the loan."""
        self.heard.append("given back")

    def discard(self, connection: DatabaseConnection) -> None:
        """Note that it is closed."""
        self.heard.append("closed")

    def run(self, key: PoolKey, statement: bytes) -> Deferred[Err | None]:
        """Begin to kill."""
        self.heard.append(statement)
        self.kills.append(Deferred())
        return self.kills[-1]


class Client(Quiet):
    """A client that knows the others."""

    def __init__(self, number: int, everyone: dict[int, Relay]) -> None:
        super().__init__()
        self.id = number
        self.everyone = everyone

    def sibling(self, number: int) -> Relay | None:
        """Give a relay."""
        return self.everyone.get(number)


class Scene:
    """A victim whose statement is under way, and its killers."""

    def __init__(self) -> None:
        self.opened = Opened()
        self.opened.connection.thread_id = 77
        self.pool = Pool(self.opened.connection)
        self.opened.connection.pool = self.pool  # type: ignore[assignment]
        self.relays: dict[int, Relay] = {}
        self.killer, self.killed = self._enter(KILLER)
        self.victim, self.heard = self._enter(VICTIM)
        self.victim.run(commands.query(b"SELECT 1"))

    def _enter(self, number: int) -> tuple[Relay, list[object]]:
        client = Client(number, self.relays)
        pool: Any = self.pool
        key = self.opened.connection.key
        relay = self.relays[number] = Relay(client, pool, key, FORM, Session(STATES, STATES.fresh))
        return relay, client.got

    def kill(self) -> None:
        """Send a KILL QUERY to the server."""
        self.killer.run(commands.query(b"KILL QUERY %d" % VICTIM), traits=Trait.KILL)
        assert self.pool.heard[-1] == b"KILL QUERY 77"

    def database(self, said: bytes) -> None:
        """Let the database say something to the victim."""
        self.opened.connection.dataReceived(said)


def test_a_reply_before_the_answer() -> None:
    scene = Scene()
    scene.kill()
    scene.database(OK)
    assert scene.heard == [OK, "ready"]
    assert scene.pool.heard == [b"KILL QUERY 77"]
    assert scene.killed == []
    scene.pool.kills[0].callback(None)
    assert scene.killed == ["ok", "ready"]
    assert scene.pool.heard[1:] == ["given back"]


def test_a_reply_behind_the_answer() -> None:
    scene = Scene()
    scene.kill()
    scene.pool.kills[0].callback(None)
    assert scene.killed == ["ok", "ready"]
    assert scene.pool.heard == [b"KILL QUERY 77"]
    scene.database(OK)
    assert scene.pool.heard[1:] == ["given back"]


def test_nothing_is_asked_before_the_answer() -> None:
    """The KILL could hit the question; it is asked afterwards."""
    scene = Scene()
    transport: Any = scene.opened.connection.transport
    scene.kill()
    transport.clear()
    scene.database(INTERRUPTED)
    assert scene.heard == [INTERRUPTED, "ready"]
    assert transport.value() == b""
    scene.pool.kills[0].callback(None)
    assert b"SHOW WARNINGS" in transport.value()


def test_the_next_command_of_the_victim() -> None:
    """It runs where it would have run on a server, and the connection is free after it."""
    scene = Scene()
    scene.kill()
    scene.database(OK)
    scene.victim.run(commands.query(b"SELECT 2"))
    scene.pool.kills[0].callback(None)
    assert scene.pool.heard == [b"KILL QUERY 77"]
    scene.database(OK)
    assert scene.pool.heard[1:] == ["given back"]


def test_several_kills() -> None:
    scene = Scene()
    scene.kill()
    scene.killer.client_lost()
    other, _ = scene._enter(FIRST_ID + 2)
    other.run(commands.query(b"KILL QUERY %d" % VICTIM), traits=Trait.KILL)
    scene.database(OK)
    scene.pool.kills[0].callback(None)
    assert "given back" not in scene.pool.heard
    scene.pool.kills[1].callback(None)
    assert scene.pool.heard[2:] == ["given back"]


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (Err(1094, "HY000", "Unknown thread id: 77"), "ok"),
        (Err(1040, "08004", "Too many connections"), (1040, 1)),
        (ConnectionLostError("gone"), (1105, 1)),
    ],
)
def test_a_kill_that_fails(error: Err | Exception, heard: object) -> None:
    """The server's error is the killer's; a thread that is gone has been interrupted."""
    scene = Scene()
    scene.kill()
    if isinstance(error, Err):
        scene.pool.kills[0].callback(error)
    else:
        scene.pool.kills[0].errback(error)
    assert scene.killed == [heard, "ready"]
    scene.database(OK)
    assert scene.pool.heard[1:] == ["given back"]
