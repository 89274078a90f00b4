"""Clients that do nothing during a failover, and have much to lose: their sessions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from tests.failover.replication import OTHER_SCHEMA
from tests.integration.prepared import Client, PreparedError
from tests.integration.proxy import NATIVE, Account

# What each client sets, with its own number, and where it is seen.
STATE = {
    "SET @mine = 'client {0}'": "@mine",
    "SELECT @chosen := 100 + {0}": "@chosen",
    "SET SESSION group_concat_max_len = 5000 + {0}": "@@group_concat_max_len",
    "SET time_zone = '+01:{0:02}'": "@@time_zone",
    "SET sql_mode = 'ANSI_QUOTES'": "@@sql_mode",
    f"USE {OTHER_SCHEMA}": "DATABASE()",
    "DO 0": "CONNECTION_ID()",
}
PREPARED = "SELECT ? + 1, @mine"

Views = dict[str, Callable[[], object]]


@dataclass
class IdleOutcome:
    """What has become of idle clients."""

    dropped: list[int] = field(default_factory=list)
    """Numbers of those that were disconnected."""
    changed: list[str] = field(default_factory=list)
    """What the others do not see as they left it, in words."""


class IdleClients:
    """``with IdleClients(host, port) as idle: ...`` connects and sets much; ``idle.look()`` looks at it afterwards.

    There are at most 60, each with a state of its own.
    """

    def __init__(self, host: str, port: int, account: Account = NATIVE, *, clients: int = 4) -> None:
        self._where = (host, port, account)
        self._count = clients
        self.clients: list[Client] = []
        self._views: list[tuple[Views, dict[str, object]]] = []
        """How to look at each session, and what was seen in the beginning."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for number in range(self._count):
                client = stack.enter_context(Client(*self._where))
                for statement in STATE:
                    answer = client.query(statement.format(number))[0]
                    if answer[0] == 0xFF:
                        raise PreparedError(answer)
                views = _views(client, client.prepare(PREPARED))
                self.clients.append(client)
                self._views.append((views, {what: view() for what, view in views.items()}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def look(self) -> IdleOutcome:
        """Use each session, and compare it to what it was before."""
        outcome = IdleOutcome()
        for number, (views, before) in enumerate(self._views):
            try:
                for what, view in views.items():
                    seen: object
                    try:
                        seen = view()
                    except PreparedError as error:
                        seen = error.args
                    if seen != before[what]:
                        outcome.changed.append(f"client {number}: {what} is {seen!r}, was {before[what]!r}")
            except (EOFError, OSError):
                outcome.dropped.append(number)
        return outcome


def _views(client: Client, statement_id: int) -> Views:
    views: Views = {what: partial(client.one, f"SELECT {what}") for what in STATE.values()}
    return {**views, PREPARED: partial(client.execute, statement_id, [41])}
