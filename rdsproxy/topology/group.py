"""A target group: its targets, watched; its writer, followed; its readers, chosen from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from rdsproxy.backend.connection import PoolKey
from rdsproxy.backend.known import Known
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.pool import Pool
from rdsproxy.pool.route import Route
from rdsproxy.topology.discovery import Discovery
from rdsproxy.topology.election import elect
from rdsproxy.topology.events import Events
from rdsproxy.topology.failover import Core, make_failover
from rdsproxy.topology.health import REGISTERING, Health, Reason, Role, State
from rdsproxy.topology.target import Place, Target
from rdsproxy.topology.watch import Watch

GRACE: Final = 30.0
"""Seconds that transactions have to end on a writer that still answers, but is not the writer any more."""


class Group:
    """Keeps the two routes, for writers' and readers' clients, on the targets that have these roles."""

    def __init__(
        self,
        discovery: Discovery,
        make_target: Callable[[Place], Target],
        make_watch: Callable[[Target, Callable[[], bool], Callable[[Health, bool], None]], Watch],
        make_pool: Callable[[Target], Pool],
        *,
        known: Known,
        counts: Counts,
        users: Callable[[], Sequence[str]],
        roles: frozenset[Role],
        borrow_timeout: float,
        max_lag: float | None,
        writer_serves_readers: bool,
        reactor: Any,
    ) -> None:
        self.counts = counts
        self.writers = Route(known, counts, borrow_timeout, reactor)
        """For endpoints of the role READ_WRITE."""
        self.readers = Route(known, counts, borrow_timeout, reactor)
        """For endpoints of the role READ_ONLY."""
        self.events = Events(reactor)
        self._discovery = discovery
        self._make_target = make_target
        self._make_watch = make_watch
        self._make_pool = make_pool
        self._users = users
        self._max_lag = max_lag
        self._writer_serves_readers = writer_serves_readers
        self._reactor = reactor
        self._roles = roles
        self._targets: dict[Place, Target] = {}
        self._watches: dict[Target, Watch] = {}
        self._claimants: list[Target] = []
        """Those that answer as writers, the latest to do so last."""
        self._gone: list[Target] = []
        """Not listed any more, and not left yet."""
        self._rivals: tuple[Target, ...] = ()
        self._doubted: Target | None = None
        """The writer, if it has to be looked at before anything else is sent there."""
        self._silent: Target | None = None
        """The writer, while a look at it is late."""
        self._core = Core(self._serve, self._wait, self._lost, self._leave)
        self._failover = make_failover(self._core)
        self._leaving: dict[Pool, tuple[Target, IDelayedCall]] = {}
        self._deciding = False
        self._undecided = False
        self.is_paused = False
        self._stopped = False

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for targets."""
        self._discovery.start(self._found)

    def stop(self) -> None:
        """Close everything; whoever waits is told that it was in vain."""
        self._stopped = True
        self._discovery.stop()
        for watch in self._watches.values():
            watch.stop()
        self.writers.stop()
        self.readers.stop()
        for _, timer in self._leaving.values():
            timer.cancel()
        for pool in self.pools():
            pool.stop()
        self._leaving.clear()

    def pools(self) -> list[Pool]:
        """Give all pools, those of targets that are left included."""
        return [target.pool for target in self._targets.values() if target.pool is not None] + list(self._leaving)

    @property
    def targets(self) -> list[Target]:
        """The targets, in the order in which they were found."""
        return list(self._targets.values())

    @property
    def writer(self) -> Target | None:
        """The target that is the writer; None while there is none."""
        return self._core.writer if self.writers.is_open else None

    def named(self, host: str, port: int) -> Target | None:
        """Give the target that is called this, in small letters; of several the writer, or one that answers."""
        found = [one for one in self._targets.values() if (one.place.name.lower(), one.place.port) == (host, port)]
        return max(found, key=lambda one: (one is self.writer, one.available), default=None)

    # -- what is learned ----------------------------------------------------------------------------------------------

    def _found(self, places: Sequence[Place]) -> None:
        if self._stopped:
            return
        gone = [target for place, target in self._targets.items() if place not in places]
        new = [place for place in places if place not in self._targets]
        if not gone and not new:
            return
        self.events.listed([str(place) for place in places])
        for target in gone:
            del self._targets[target.place]
            if target is self._doubted:
                self._doubted = None
            if target is self._silent:
                self._silent = None
            self._claims(target, False)
            if target.pool is None:
                self._watches.pop(target).stop()
            else:
                self._gone.append(target)
        starting = []
        for place in new:
            target = self._targets[place] = self._make_target(place)
            self._watches[target] = watch = self._make_watch(target, self._in_haste, partial(self._told, target))
            watch.on_late = partial(self._late, target)
            starting.append(watch)
        self._decide()
        for watch in starting:
            watch.start()

    def _in_haste(self) -> bool:
        return (
            Role.READ_WRITE in self._roles
            and not self.is_paused
            and (self._silent is not None or not self.writers.is_open)
        )

    def _late(self, target: Target) -> None:
        """A look at the target is late: if it is the writer, see whether another one has been promoted meanwhile."""
        if target is self._core.writer:
            self._silent = target
            self._hurry()

    def _hurry(self) -> None:
        if self._in_haste():
            for watch in self._watches.values():
                watch.hurry()

    def _told(self, target: Target, health: Health, fresh: bool) -> None:
        """Take what a look at a target has shown."""
        if target is self._doubted:
            if not fresh:
                return
            self._doubted = None
        if target is self._silent:
            self._silent = None
        before = target.health
        target.told(health)
        health = target.health
        if (before.state, before.role, before.reason) != (health.state, health.role, health.reason):
            role = target.role
            self.events.changed(
                target.place, health.state, role.value if role is not None else "", health.reason, health.detail
            )
        self._claims(target, target.role is Role.READ_WRITE and target.place in self._targets)
        if not target.available:
            for pool, (left, _) in list(self._leaving.items()):
                if left is target:
                    # It will not answer what is under way there either.
                    pool.cut("the target does not answer")
        self._decide()
        self._discovery.seen(self.targets)

    def _claims(self, target: Target, claims: bool) -> None:
        if claims and target not in self._claimants:
            self._claimants.append(target)
            if self._silent is not None:
                # Promoted while the writer does not answer: whoever did that need not wait until it is given up.
                self._claims(self._silent, False)
                if self._doubted is self._silent:
                    self._doubted = None
        elif not claims and target in self._claimants:
            self._claimants.remove(target)

    def trouble(self, target: Target) -> None:
        """Traffic has met with something that a failover begins with: look at once."""
        watch = self._watches.get(target)
        if watch is not None:
            watch.poke()
        self._discovery.hurry()

    def _doubt(self, target: Target) -> None:
        """Traffic has met with what a failover begins with: nothing more goes there until it has been looked at."""
        if target is self._core.writer and self.writers.is_open and not self._deciding:
            self._doubted = target
            self._failover.doubt()
        self.trouble(target)

    # -- what is decided ----------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Bring the machine and the routes up to date. What that leads to may ask for it again: in turn, not within."""
        self._undecided = True
        if self._deciding or self._stopped:
            return
        self._deciding = True
        try:
            while self._undecided:
                self._undecided = False
                self._choose_writer()
                self._choose_readers()
                self._leave_gone()
        finally:
            self._deciding = False
        self._hurry()

    def _choose_writer(self) -> None:
        if self._doubted is not None:
            return
        choice = elect(self._core.writer, self._claimants)
        if choice.rivals != self._rivals:
            self._rivals = choice.rivals
            if choice.rivals and choice.writer is not None:
                self.events.rivals(choice.writer.place, [str(rival.place) for rival in choice.rivals])
        if choice.writer is not None:
            self._failover.found(choice.writer)
            return
        writer = self._core.writer
        health = writer.health if writer is not None else REGISTERING
        self._failover.lost(health.detail or health.reason or "it does not take writes")

    def _choose_readers(self) -> None:
        if Role.READ_ONLY not in self._roles or self.is_paused:
            return
        able = [target for target in self._targets.values() if self._can_read(target)]
        if not able and self._writer_serves_readers and self.writer is not None:
            able = [self.writer]
        self.readers.serve([self._pool(target) for target in able])
        # Only now: whose reply does not come any more may be sent to another reader.
        for target in self._targets.values():
            if target.pool is not None and target not in able and target is not self._core.writer:
                self._drain(target)

    def _leave_gone(self) -> None:
        """End the connections to targets that are not listed any more; those to the last writer end with the next."""
        for target in list(self._gone):
            if target is not self._core.writer or not self.writers.is_open:
                self._gone.remove(target)
                if target.pool is not None:
                    self._drain(target)

    def _can_read(self, target: Target) -> bool:
        if target is self._core.writer or target.role is not Role.READ_ONLY:
            return False
        if target.health.reason is Reason.INVALID_REPLICATION_STATE:
            return False
        lag = target.health.lag
        return self._max_lag is None or (lag is not None and lag <= self._max_lag)

    # -- what is done -------------------------------------------------------------------------------------------------

    def _serve(self, target: Target, before: Target | None) -> None:
        if target.pool is not None and before is not target:
            # What it has lent as a reader is not lent to writers' clients.
            self._drain(target)
        pool = self._pool(target)
        pool.follows_writer = target.place.role is None
        pool.resume()
        self.events.found(target.place, first=before is None, same=before is target)
        self.writers.serve([pool])

    def _wait(self) -> None:
        self.writers.serve(())
        writer = self._core.writer
        if writer is not None and writer.pool is not None:
            writer.pool.suspend()

    def _lost(self, why: str) -> None:
        if self._core.writer is not None:
            self.events.lost(self._core.writer.place, why)

    def _leave(self, target: Target) -> None:
        if target.pool is not None:
            self._drain(target)

    def _pool(self, target: Target) -> Pool:
        if target.pool is None:
            target.pool = self._make_pool(target)
            target.pool.trouble = lambda: self.trouble(target)
            target.pool.doubt = lambda: self._doubt(target)
            target.pool.start(lambda: [PoolKey(user, found_rows=False) for user in self._users()])
        return target.pool

    def _drain(self, target: Target) -> None:
        """Let what is under way on a target end, in time, and close its connections."""
        pool, target.pool = target.pool, None
        assert pool is not None
        timer = self._reactor.callLater(GRACE, pool.cut, "the target has another role now")
        self._leaving[pool] = (target, timer)
        pool.leave(lambda: self._left(pool))
        if pool in self._leaving and (target.health.state is State.UNAVAILABLE or target is self._silent):
            # What is under way there may be done, but nobody would see it any more.
            pool.cut("the target does not answer")

    def _left(self, pool: Pool) -> None:
        found = self._leaving.pop(pool, None)
        if found is None:
            return
        target, timer = found
        if timer.active():
            timer.cancel()
        if target.place not in self._targets and target in self._watches:
            self._watches.pop(target).stop()

    # -- planned moves ------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Let transactions end and nothing new begin, for writers and readers, until `resume`."""
        if not self.is_paused:
            self.is_paused = True
            self.events.paused()
            self._failover.pause()
            self.readers.serve(())
            for pool in self.pools():
                pool.suspend()

    def resume(self) -> None:
        """Go on, with whoever is the writer by now."""
        if not self.is_paused:
            return
        self.is_paused = False
        self.events.resumed()
        for target in self._targets.values():
            if target.pool is not None:
                target.pool.resume()
        if self._core.writer in self._watches:
            self._doubted = self._core.writer
        self._failover.resume()
        for watch in self._watches.values():
            watch.poke()
        self._decide()

    @property
    def waiting(self) -> int:
        """Clients that wait for a connection, or for a target to have one of."""
        return self.writers.held + self.readers.held + sum(pool.waiting for pool in self.pools())

    @property
    def borrowed(self) -> int:
        """Connections on loan."""
        return sum(pool.borrowed for pool in self.pools())
