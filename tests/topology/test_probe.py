"""What a look at a target makes of what the target says, or does not say."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError
from rdsproxy.backend.login import LoginError
from rdsproxy.credentials import StaticCredentials
from rdsproxy.interfaces import Credential, ICredentialProvider
from rdsproxy.protocol.datatypes import lenenc_bytes
from rdsproxy.protocol.errors import AuthenticationError
from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.results import Result
from rdsproxy.topology.health import Health, Reason, Role, State
from rdsproxy.topology.probe import Probe

USERS = StaticCredentials([Credential("one", "x"), Credential("two", "y")])
DENIED = LoginError("no", Err(1045, "28000", "Access denied"))
WRITES = Result(rows=[(b"innodb_read_only", b"OFF"), (b"read_only", b"OFF"), (b"super_read_only", b"OFF")])
READS = Result(rows=[(b"innodb_read_only", b"OFF"), (b"read_only", b"ON")])
NO_REPLICA = Result()
MAY_NOT_SEE = Result(err=Err(1227, "42000", "Access denied; you need REPLICATION CLIENT"))


def replica(**values: bytes | None) -> Result:
    definitions = [
        b"".join(lenenc_bytes(part) for part in (b"def", b"", b"", b"", name.encode(), b"")) + bytes(12)
        for name in values
    ]
    return Result(rows=[tuple(values.values())], definitions=definitions)


class Connection:
    """A monitor's connection, which answers what the test says."""

    def __init__(self) -> None:
        self.lost = False
        self.answers: list[Deferred[list[Result]]] = []
        self.asked: list[list[bytes]] = []

    def ask(self, packets: list[bytes]) -> Deferred[list[Result]]:
        self.asked.append(packets)
        self.answers.append(Deferred())
        return self.answers[-1]

    def abandon(self) -> None:
        self.lost = True


class Bench:
    """A probe; the test lets it in, or not."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.logins: list[tuple[str, Deferred[Connection]]] = []
        self.cancelled = 0
        connector: Any = self
        self.probe = Probe(connector, USERS, 1.0, self.clock)
        self.seen: list[object] = []

    async def log_in_as(self, users: ICredentialProvider, name: str, on_lost: object) -> Connection:
        login: Deferred[Connection] = Deferred()
        self.logins.append((name, login))
        return await login

    def look(self) -> None:
        self.probe.look().addBoth(self.seen.append)

    def let_in(self) -> Connection:
        connection = Connection()
        self.logins[-1][1].callback(connection)
        return connection

    def health(self) -> Health:
        (health,) = self.seen
        self.seen.clear()
        assert isinstance(health, Health), health
        return health


@pytest.mark.parametrize(
    ("variables", "status", "health"),
    [
        (WRITES, NO_REPLICA, Health(State.AVAILABLE, Role.READ_WRITE)),
        (READS, NO_REPLICA, Health(State.AVAILABLE, Role.READ_ONLY)),
        (READS, MAY_NOT_SEE, Health(State.AVAILABLE, Role.READ_ONLY)),
        (
            READS,
            replica(Seconds_Behind_Source=b"7", Replica_SQL_Running=b"Yes"),
            Health(State.AVAILABLE, Role.READ_ONLY, 7.0),
        ),
        (
            READS,
            replica(Slave_SQL_Running=b"No", Seconds_Behind_Master=None),
            Health(
                State.AVAILABLE,
                Role.READ_ONLY,
                None,
                Reason.INVALID_REPLICATION_STATE,
                "its replication does not run",
            ),
        ),
        # Of two primaries that replicate from each other both take writes.
        (
            WRITES,
            replica(Slave_SQL_Running=b"No", Seconds_Behind_Master=b"0"),
            Health(State.AVAILABLE, Role.READ_WRITE, 0.0),
        ),
    ],
)
def test_what_a_target_says_of_itself(variables: Result, status: Result, health: Health) -> None:
    bench = Bench()
    bench.look()
    bench.let_in().answers[0].callback([variables, status])
    assert bench.health() == health
    assert bench.clock.getDelayedCalls() == []


def test_the_connection_is_kept() -> None:
    bench = Bench()
    bench.look()
    connection = bench.let_in()
    connection.answers[0].callback([WRITES, NO_REPLICA])
    bench.look()
    connection.answers[1].callback([READS, NO_REPLICA])
    assert len(bench.logins) == 1
    bench.probe.stop()
    assert connection.lost


def test_a_server_of_before() -> None:
    bench = Bench()
    bench.look()
    connection = bench.let_in()
    connection.answers[0].callback([READS, Result(err=Err(1064, "42000", "syntax"))])
    connection.answers[1].callback([replica(Seconds_Behind_Master=b"2")])
    assert bench.health().lag == 2.0
    bench.look()
    assert b"SHOW SLAVE STATUS" in connection.asked[-1][1]


def test_users_are_tried_in_turn_and_the_one_that_is_let_in_is_tried_first() -> None:
    bench = Bench()
    bench.look()
    bench.logins[-1][1].errback(DENIED)
    connection = bench.let_in()
    connection.answers[0].callback([WRITES, NO_REPLICA])
    connection.lost = True
    bench.look()
    assert [name for name, _ in bench.logins] == ["one", "two", "two"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), Reason.UNREACHABLE),
        (ConnectionLostError("gone"), Reason.CONNECTION_FAILED),
        (AuthenticationError("no such plugin"), Reason.AUTH_FAILURE),
        (LoginError("too old"), Reason.CONNECTION_FAILED),
        (RuntimeError("never thought of"), Reason.CONNECTION_FAILED),
    ],
)
def test_a_target_that_cannot_be_looked_at(error: Exception, reason: Reason) -> None:
    bench = Bench()
    bench.look()
    bench.logins[-1][1].errback(error)
    health = bench.health()
    assert (health.state, health.reason) == (State.UNAVAILABLE, reason)


def test_all_users_are_refused() -> None:
    bench = Bench()
    bench.look()
    bench.logins[-1][1].errback(DENIED)
    bench.logins[-1][1].errback(DENIED)
    assert bench.health().reason is Reason.AUTH_FAILURE


def test_a_target_that_is_full_is_there() -> None:
    bench = Bench()
    bench.look()
    bench.logins[-1][1].errback(LoginError("full", Err(1040, "08004", "Too many connections")))
    health = bench.health()
    assert (health.state, health.role) == (State.AVAILABLE, None)


def test_no_answer_in_time() -> None:
    """While connecting, and on the connection: the next look begins with another one."""
    bench = Bench()
    bench.look()
    bench.clock.advance(1)
    health = bench.health()
    assert (health.state, health.reason, health.detail) == (
        State.UNAVAILABLE,
        Reason.UNREACHABLE,
        "no answer in time",
    )
    bench.look()
    connection = bench.let_in()
    bench.clock.advance(1)
    assert bench.health().reason is Reason.UNREACHABLE
    assert connection.lost
    bench.look()
    assert len(bench.logins) == 3


def test_nothing_is_told_once_it_is_not_wanted() -> None:
    bench = Bench()
    looking = bench.probe.look()
    looking.addBoth(bench.seen.append)
    connection = bench.let_in()
    looking.cancel()
    (failure,) = bench.seen
    assert isinstance(failure, Failure)
    assert failure.check(CancelledError)
    assert connection.lost
