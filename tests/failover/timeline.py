"""What clients lived through: each thing they did, when, and how it ended; and what follows from that."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import pymysql
from pymysql.constants import CR

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

Result = TypeVar("Result")

# Things that succeed only where writes are possible; a transaction is one by its end.
WRITES = frozenset({"commit", "insert", "count"})


@dataclass(frozen=True)
class Event:
    """Something that a client did; times are those of ``time.monotonic``, in seconds."""

    began: float
    ended: float
    kind: str
    code: int = 0
    """MySQL's error, or its client libraries'; 0 if it went well."""
    sqlstate: str = ""
    """Empty if no server, nor proxy, sent the error."""
    dropped: bool = False
    """The connection was lost with it."""


@dataclass
class Timeline:
    """One client's events, in order."""

    events: list[Event] = field(default_factory=list)

    def record(self, kind: str, do: Callable[[], Result], connection: Connection | None = None) -> Result:
        """Do something, on ``connection``, and record it. An error of PyMySQL's is recorded and raised."""
        began = time.monotonic()
        code, sqlstate, dropped = 0, "", False
        try:
            return do()
        except pymysql.MySQLError as error:
            code, sqlstate = error_of(error)
            dropped = connection is not None and not connection.open
            raise
        finally:
            self.events.append(Event(began, time.monotonic(), kind, code, sqlstate, dropped))


def error_of(error: pymysql.MySQLError) -> tuple[int, str]:
    """Give an error's code and SQLSTATE, which is empty if the error did not come in a packet."""
    code = error.args[0] if error.args else None
    if not isinstance(code, int):
        code = CR.CR_MALFORMED_PACKET  # PyMySQL's own complaint about what was sent
    return code or CR.CR_SERVER_GONE_ERROR, getattr(error, "sqlstate", None) or ""


@dataclass(frozen=True)
class Outcome:
    """Many timelines in numbers; durations are in seconds."""

    succeeded: Counter[str]
    """How many, by kind."""
    errors: Counter[tuple[int, str]]
    """How many, by code and SQLSTATE, without failed attempts to connect."""
    refused: Counter[tuple[int, str]]
    """Failed attempts to connect."""
    clients_dropped: int
    """Clients whose connection was lost, once or more often."""
    drops: int
    """Connections lost, of all."""
    first_success: float | None
    """From the moment that was asked for to the end of the first write that began after it and went well."""
    longest_gap: float
    """The longest time without a successful write of any client, from its beginning to the end: the outage."""
    longest_gap_of_a_client: float
    """The longest time of one client without a successful write."""
    slowest: float
    """The longest that a client waited for something that went well in the end."""


def outcome(timelines: Sequence[Timeline], since: float = 0.0, kinds: Collection[str] = WRITES) -> Outcome:
    """Count what happened; ``since`` is a moment of ``time.monotonic``. ``kinds`` are what counts as a write."""
    every = [event for timeline in timelines for event in timeline.events]
    good = [event for event in every if not event.code]
    failed = [event for event in every if event.code]
    drops = [sum(event.dropped for event in timeline.events) for timeline in timelines]
    return Outcome(
        succeeded=Counter(event.kind for event in good),
        errors=Counter((event.code, event.sqlstate) for event in failed if event.kind != "connect"),
        refused=Counter((event.code, event.sqlstate) for event in failed if event.kind == "connect"),
        clients_dropped=sum(number > 0 for number in drops),
        drops=sum(drops),
        first_success=min(
            (event.ended - since for event in good if event.kind in kinds and event.began >= since), default=None
        ),
        longest_gap=_longest_gap(every, kinds),
        longest_gap_of_a_client=max((_longest_gap(timeline.events, kinds) for timeline in timelines), default=0.0),
        slowest=max((event.ended - event.began for event in good), default=0.0),
    )


def _longest_gap(events: Sequence[Event], kinds: Collection[str]) -> float:
    moments = [event.ended for event in events if event.kind in kinds and not event.code]
    if events:
        moments += [min(event.began for event in events), max(event.ended for event in events)]
    return max((later - earlier for earlier, later in pairwise(sorted(moments))), default=0.0)
