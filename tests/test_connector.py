"""Connecting to a database, given up before there is a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from rdsproxy.backend.connection import PoolKey
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import TLSPolicy
from rdsproxy.credentials import StaticCredentials
from rdsproxy.interfaces import Credential
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.wire import Wires

USERS = StaticCredentials([Credential("app", "x")])
KEY = PoolKey("app", found_rows=False)


class Database:
    """A host that answers nothing: each attempt to connect lasts until it is given up."""

    def __init__(self, host: str) -> None:
        self.reactor: Any = MemoryReactorClock()
        policy = TLSPolicy(None, required=False)
        self.connector = Connector(host, 3306, policy, "", USERS, Wires(None, self.reactor), self.reactor)
        self.pool = Pool(Limits(100, 5, 50, 120.0, 100), self.connector, self.reactor)


@pytest.mark.parametrize("host", ["10.0.0.5", "::5"])
@pytest.mark.parametrize(
    "connect",
    [
        lambda database: database.connector.connect(database.pool, KEY, print),
        lambda database: Deferred.fromCoroutine(database.connector.log_in_as(USERS, "app", print)),
        lambda database: Deferred.fromCoroutine(database.connector.show("app", "token")),
        lambda database: Deferred.fromCoroutine(database.connector.greeting()),
    ],
    ids=["connect", "log_in_as", "show", "greeting"],
)
def test_cancelled_while_it_connects(connect: Callable[[Database], Deferred[Any]], host: str) -> None:
    """It fails as everything that is cancelled does, so that nobody takes it for a failure of the database's."""
    database = Database(host)
    connecting = connect(database)
    assert len(database.reactor.connectors) == 1
    connecting.cancel()
    connecting.addCallbacks(pytest.fail, lambda failure: failure.trap(CancelledError))
    assert connecting.result is CancelledError
    assert database.reactor.connectors[0].stoppedConnecting


@pytest.mark.parametrize("leave", [lambda pool: pool.leave(lambda: None), Pool.stop], ids=["leave", "stop"])
def test_a_pool_that_is_left_while_it_connects(leave: Callable[[Pool], None]) -> None:
    """Nothing has failed: the proxy itself has given up what it does not need any more."""
    database = Database("10.0.0.5")
    with structlog.testing.capture_logs() as log:
        database.pool.start(lambda: [KEY])
        assert len(database.reactor.connectors) == 1
        leave(database.pool)
    assert database.reactor.connectors[0].stoppedConnecting
    assert database.pool.counts.not_opened == 0
    assert log == []
