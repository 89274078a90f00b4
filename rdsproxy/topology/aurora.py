"""The servers of an Aurora cluster, as they list each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from rdsproxy.topology.health import Health, Role, State
from rdsproxy.topology.target import Place, Target
from rdsproxy.topology.watch import Watch

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
"""Instance identifiers of RDS."""

_log = structlog.get_logger("rdsproxy.topology")


def who_is_there(known: Iterable[tuple[str, Health]], seed: Health | None = None) -> frozenset[str] | None:
    """Give the ids of the servers that belong to the cluster; None if nobody says.

    `known` are the ids of those that are watched, and what was seen of them. A writer's list counts before readers'
    lists, which may be behind. Who answers is there, listed or not: a server that has just been promoted may not know
    of all others yet.
    """
    watched = list(known)
    healths = [health for _, health in watched] + ([] if seed is None else [seed])
    lists = [health for health in healths if health.cluster is not None]
    lists = [health for health in lists if health.role is Role.READ_WRITE] or lists
    if not lists:
        return None
    answering = (name for name, health in watched if health.state is State.AVAILABLE)
    return frozenset(answering).union(*(health.cluster or () for health in lists))


class Aurora:
    """Begins with a seed, a name that leads to any server of the cluster, and goes on with what the servers say.

    The seed is no target, as its address moves. It is asked as long as no target is the writer.
    """

    def __init__(
        self,
        watch_seed: Callable[[Callable[[], bool], Callable[[Health, bool], None]], Watch],
        place_of: Callable[[str], Place],
    ) -> None:
        """`watch_seed` makes a watch of the seed, given whether it is in haste, and whom it tells what it sees.

        `place_of` says where the server of an id is.
        """
        self._watch_seed = watch_seed
        self._place_of = place_of
        self._seed: Watch | None = None
        self._seed_health: Health | None = None
        self._found: Callable[[Sequence[Place]], None] | None = None
        self._names: Mapping[Place, str] = {}
        self._targets: Sequence[Target] = ()
        self._complaint = ""

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        """Ask the seed."""
        self._found = found
        self._ask_seed()

    def hurry(self) -> None:
        """Ask the seed, if it is asked at all; of a target in trouble the list is read with the next look at it."""
        if self._seed is not None:
            self._seed.poke()

    def seen(self, targets: Sequence[Target]) -> None:
        """Take what the targets say of their cluster."""
        self._targets = targets
        self._update()
        if any(target.role is Role.READ_WRITE for target in targets):
            self._leave_seed()
        elif self._seed is None and self._found is not None:
            self._ask_seed()

    def _ask_seed(self) -> None:
        self._complaint = ""
        # Noted first: the first look may end before start() does.
        self._seed = seed = self._watch_seed(self._in_haste, self._seed_told)
        seed.start()

    def _in_haste(self) -> bool:
        # As long as any target answers, it tells as much as the seed. Of a cluster without a writer, such as a
        # secondary one of a global database, the seed goes on to be asked.
        return not any(target.available for target in self._targets)

    def _leave_seed(self) -> None:
        seed, self._seed, self._seed_health = self._seed, None, None
        if seed is not None:
            seed.stop()

    def _seed_told(self, health: Health, fresh: bool) -> None:
        self._seed_health = health
        complaint = "" if health.cluster is not None else health.detail or health.reason
        if complaint not in ("", self._complaint):
            _log.warning("the cluster's endpoint does not tell of its servers", reason=complaint)
        self._complaint = complaint
        self._update()

    def _update(self) -> None:
        known = [(self._names[target.place], target.health) for target in self._targets if target.place in self._names]
        listed = who_is_there(known, self._seed_health)
        if listed is None or self._found is None:
            return
        names = {self._place_of(name): name for name in sorted(listed) if _ID.fullmatch(name)}
        if names and names.keys() != self._names.keys():
            self._names = names
            self._found(list(names))

    def stop(self) -> None:
        """Ask no more."""
        self._found = None
        self._leave_seed()
