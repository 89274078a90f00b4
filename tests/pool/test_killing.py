"""Where a KILL runs, and what becomes of connections that are killed."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.protocol.reply import FIRST, ClientForm
from rdsproxy.protocol.responses import Err
from tests.fuzz.streams import packet
from tests.pool.test_pool import APP, DENIED, Bench, lose

OK = packet(b"\0\0\0\x02\0\0\0", 1)
TOO_MANY = Err(1094, "HY000", "Unknown thread id: 5")


class Borrower:
    """Whoever has a connection on loan."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def said(connection: DatabaseConnection) -> bytes:
    """Give what was sent on a connection."""
    transport: Any = connection.transport
    data: bytes = transport.value()
    return data


def outcome(killed: Deferred[Err | None]) -> list[object]:
    """Give a list that gets the result, or the type of the failure."""
    got: list[object] = []
    killed.addCallbacks(got.append, lambda failure: got.append(failure.type))
    return got


def test_an_idle_connection_is_used_before_all_who_wait() -> None:
    bench = Bench().started()
    got = outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    (connection,) = bench.database.open
    assert b"KILL QUERY 5" in said(connection)
    waiting = bench.wait()
    assert waiting.connection is None
    connection.dataReceived(OK)
    assert got == [None]
    assert waiting.connection is connection
    assert connection.state is bench.database.states.fresh


def test_where_all_are_busy_it_has_one_of_its_own() -> None:
    """Beyond the limit, one for all that there is to kill, and closed behind it."""
    bench = Bench(max_connections=2).started()
    bench.fill(2)
    first = outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    second = outcome(bench.pool.killer.run(APP, b"KILL QUERY 6"))
    (opening,) = bench.database.openings
    assert bench.pool.connections == 2
    own = opening.succeed()
    assert (first, second) == ([], [])
    assert own in bench.pool.logged_in()
    third = outcome(bench.pool.killer.run(APP, b"KILL QUERY 7"))
    own.dataReceived(OK + packet(TOO_MANY.build(), 1))
    assert (first, second, third) == ([None], [TOO_MANY], [])
    own.dataReceived(OK)
    assert third == [None]
    assert not bench.database.openings
    assert said(own).endswith(b"\x01\0\0\0\x01")
    assert own in bench.pool.logged_in()
    lose(own)
    assert own not in bench.pool.logged_in()
    assert bench.pool.connections == 2
    outcome(bench.pool.killer.run(APP, b"KILL QUERY 8"))
    assert len(bench.database.openings) == 1


def test_a_login_that_fails() -> None:
    bench = Bench(max_connections=1).started()
    bench.fill(1)
    got = outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    bench.database.openings[0].fail(DENIED)
    assert got == [type(DENIED)]
    outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    assert len(bench.database.openings) == 1


@pytest.mark.parametrize("opened", [False, True])
def test_the_proxy_stops(opened: bool) -> None:
    bench = Bench(max_connections=1).started()
    bench.fill(1)
    got = outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    if opened:
        bench.database.openings[0].succeed()
    bench.pool.stop()
    assert got == [CancelledError]
    bench.clock.advance(0)
    assert all(connection.lost for connection in bench.database.open)
    assert not bench.clock.getDelayedCalls()


def test_a_server_that_does_not_answer() -> None:
    bench = Bench().started()
    got = outcome(bench.pool.killer.run(APP, b"KILL QUERY 5"))
    bench.clock.advance(10)
    assert len(got) == 1
    assert bench.pool.connections == 0


# -- connections that are killed ---------------------------------------------------------------------------------------


def abandoned(bench: Bench) -> DatabaseConnection:
    """Give a connection whose client left in mid-statement."""
    connection = bench.connection(bench.fill(1)[0])
    connection.lend(Borrower())
    connection.run(b"", FIRST, ClientForm(eof=False, track=True, local_files=False))
    connection.thread_id = 77
    bench.pool.abandon(connection)
    return connection


def test_an_abandoned_one_is_killed_and_keeps_its_place_until_it_is_closed() -> None:
    bench = Bench(max_connections=1).started()
    connection = abandoned(bench)
    waiting = bench.wait()
    own = bench.database.openings[0].succeed()
    assert b"KILL CONNECTION 77" in said(own)
    own.dataReceived(OK)
    connection.dataReceived(b"whatever it has to say")
    assert bench.pool.connections == 1
    assert not bench.database.openings
    lose(connection)
    assert bench.database.openings
    bench.open_all()
    assert waiting.connection is not None


def test_an_abandoned_one_that_cannot_be_killed_is_closed() -> None:
    bench = Bench(max_connections=1).started()
    connection = abandoned(bench)
    bench.database.openings[0].fail(DENIED)
    assert connection.lost
    assert bench.pool.connections == 0


def test_an_abandoned_one_that_does_not_end_is_closed() -> None:
    bench = Bench(max_connections=1).started()
    connection = abandoned(bench)
    bench.database.openings[0].succeed().dataReceived(OK)
    bench.clock.advance(60)
    bench.clock.advance(0)
    assert connection.lost
    assert bench.pool.connections == 0


def test_one_that_a_kill_is_meant_for_is_not_cleaned_but_closed() -> None:
    """The KILL would hit the cleaning, or whoever comes next."""
    bench = Bench().started()
    connection = bench.connection(bench.fill(1)[0])
    connection.targeted = 1
    bench.pool.recycle(connection)
    assert connection.lost
    assert not bench.database.cleanings
    assert bench.pool.connections == 0
