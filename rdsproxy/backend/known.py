"""What has been learned of the database behind a target group, whichever of its targets told it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from rdsproxy.backend.connection import PoolKey
from rdsproxy.backend.target import Facts
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers


class Known:
    """Outlives each target: sessions and logins go on with it while no target can be reached."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        """Of the target that was reached first, or of the writer that came after it."""
        self.states: dict[PoolKey, States] = {}
        """Known once a connection of the key has been opened."""
        self.schemas: dict[PoolKey, set[bytes]] = {}
        """Schemas that users of the key have entered: known to exist and to be allowed."""
        self.lexers = Lexers()
        self._waiting: list[Deferred[Facts]] = []

    def when_known(self) -> Deferred[Facts]:
        """Give the facts as soon as there are any. Cancellable."""
        if self.facts is not None:
            known: Deferred[Facts] = Deferred()
            known.callback(self.facts)
            return known
        waiting: Deferred[Facts] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def learned(self, facts: Facts) -> None:
        """Take what a target that serves clients is like."""
        self.facts = facts
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(facts)

    def learned_key(self, key: PoolKey, states: States) -> None:
        """Take what the first connection of a key has learned."""
        self.states.setdefault(key, states)
        self.schemas.setdefault(key, set())

    def stop(self) -> None:
        """Let those who wait know that it was in vain."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.cancel()
