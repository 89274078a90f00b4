"""Measuring one failover with one contestant, and what follows from it in numbers."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from tests.bench.failover.contestants import Contestant
from tests.bench.failover.events import Event, Moments
from tests.bench.failover.scene import make_scene
from tests.bench.processes import BenchError
from tests.failover.bank import Bank, Tally, create_bank
from tests.failover.idle import IdleClients, IdleOutcome
from tests.failover.timeline import WRITES, Timeline, outcome
from tests.servers import DatabaseServer

PAUSE = 0.02
"""Seconds between two writes of a client."""
BEFORE = 1.0
"""Seconds of undisturbed writing before the event."""
AFTER = 1.5
"""Seconds of writing after the last moment of the event, at least."""
PATIENCE = 15.0
"""Seconds that clients have to find the new primary; then the run ends without them."""
EACH = 10
"""Writes of each client that show that it has found it."""
BIN = 0.1
"""Seconds for which writes are counted together."""

# What a session has begun outside a transaction: the others of the bank's statements are inside one.
_OUTSIDE = frozenset({"begin", "insert", "count"})


@dataclass(frozen=True)
class Sample:
    """One run, from BEFORE seconds before the event to its end. Times are in seconds after the event."""

    round: int
    dropped: int
    """Clients that lost their connection."""
    errors: dict[str, int]
    """By code and SQLSTATE, as text; without failed attempts to connect."""
    outside: int
    """Of these: of statements outside transactions."""
    refused: int
    """Failed attempts to connect."""
    idle_dropped: int
    idle_changed: int
    """Idle clients that lost their connection, and differences that the others see."""
    first_write: float | None
    """Seconds from the moment when the new primary accepts writes to the first that succeeds."""
    outage: float
    """The longest time without a successful write."""
    lost: int
    doubled: int
    """See Tally."""
    marks: dict[str, float]
    """Moments, by what they are."""
    writes: list[int]
    """Successful writes in each BIN seconds, from BEFORE seconds before the event."""
    problems: list[str] = field(default_factory=list)
    """The first few things that are wrong in the tables, in words."""


def measure(
    event: Event,
    contestant: Contestant,
    kind: type[DatabaseServer],
    folder: Path,
    number: int,
    *,
    clients: int,
    delay: float,
    timeout: float,
) -> Sample:
    """Measure one round; the logs of the contestant's programs stay in ``folder``. Raises BenchError if it fails."""
    try:
        with make_scene(kind, event.network) as scene:
            create_bank(scene.old)
            with contestant.running(folder, scene, timeout) as entrance:
                if event.before is not None:
                    event.before(scene)
                bank = Bank(
                    *entrance.address(),
                    clients=clients,
                    pause=PAUSE,
                    timeout=timeout,
                    reach=entrance.reach,
                    leave_on=entrance.leave_on,
                )
                with bank:
                    bank.wait_for_writes(5)
                    with IdleClients(*entrance.address()) as idle:
                        time.sleep(BEFORE)
                        moments = event.happen(scene, bank, delay)
                        _settle(bank, moments)
                        bank.stop()
                        scene.bury()
                        seen = idle.look()
                server = scene.servers.primary
                return summarise(number, bank.timelines, moments, seen, bank.tally(server), bank.problems(server)[:5])
    except (AssertionError, OSError, pymysql.MySQLError) as error:
        raise BenchError(f"{type(error).__name__}: {error}") from error


def _settle(bank: Bank, moments: Moments) -> None:
    """Return when all clients write again, or are too late."""
    last = max(moments.event, moments.writable or 0.0, moments.renewed or 0.0)
    while (now := time.monotonic()) < last + PATIENCE:
        if now >= last + AFTER and all(_writes_since(timeline, last) >= EACH for timeline in bank.timelines):
            return
        time.sleep(0.05)  # between two looks


def _writes_since(timeline: Timeline, moment: float) -> int:
    events = timeline.events
    count = 0
    for at in range(len(events) - 1, -1, -1):
        if events[at].ended < moment or count == EACH:
            break
        count += events[at].kind in WRITES and not events[at].code
    return count


def summarise(
    number: int,
    timelines: Sequence[Timeline],
    moments: Moments,
    idle: IdleOutcome,
    tally: Tally,
    problems: Sequence[str] = (),
) -> Sample:
    """Put a run into numbers."""
    start = moments.event - BEFORE
    kept = [Timeline([event for event in timeline.events if event.began >= start]) for timeline in timelines]
    numbers = outcome(kept)
    every = [event for timeline in kept for event in timeline.events]
    good = sorted(event.ended for event in every if event.kind in WRITES and not event.code)
    first_write = None
    if moments.writable is not None:
        # Also one that began before: a proxy may have held it.
        after = bisect_left(good, moments.writable)
        first_write = good[after] - moments.writable if after < len(good) else None
    # Until the first client has stopped.
    end = min((timeline.events[-1].ended for timeline in kept if timeline.events), default=start)
    writes = [0] * int((end - start) / BIN)
    for moment in good:
        if (at := int((moment - start) / BIN)) < len(writes):
            writes[at] += 1
    marks = {"event": 0.0}
    if moments.writable is not None:
        marks["promotion"] = moments.writable - moments.event
    if moments.renewed is not None:
        marks["new connections"] = moments.renewed - moments.event
    errors = Counter({f"{code} {state or 'no SQLSTATE'}": count for (code, state), count in numbers.errors.items()})
    return Sample(
        round=number,
        dropped=numbers.clients_dropped,
        errors=dict(sorted(errors.items())),
        outside=sum(event.kind in _OUTSIDE and event.code != 0 for event in every),
        refused=sum(numbers.refused.values()),
        idle_dropped=len(idle.dropped),
        idle_changed=len(idle.changed),
        first_write=first_write,
        outage=numbers.longest_gap,
        lost=tally.lost,
        doubled=tally.doubled,
        marks=marks,
        writes=writes,
        problems=[*problems, *idle.changed[:5]],
    )
