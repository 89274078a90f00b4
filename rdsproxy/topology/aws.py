"""The servers of a DB cluster, or a DB instance, by the RDS API, and between its answers by what the servers say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import structlog
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.threads import Threads
from rdsproxy.topology.aurora import who_is_there
from rdsproxy.topology.dns import Named
from rdsproxy.topology.health import Role
from rdsproxy.topology.rds_api import ApiError, Endpoint
from rdsproxy.topology.target import Place, Target

EVERY: Final = 30.0
"""Seconds between two questions to the API while all is well, and at most while it is not."""
FIRST: Final = 1.0
"""Seconds between the first two questions that trouble asks for, or that fail. They double."""
_SPREAD: Final = 0.5
"""Seconds within which many proxies that have met with the same trouble ask."""

_log = structlog.get_logger("rdsproxy.topology")


class Asking(Protocol):
    """Puts the question to the API."""

    def start(self) -> None:
        """Be ready."""

    def ask(self) -> Deferred[list[Endpoint]]:
        """Ask once. Fails with ApiError."""

    def stop(self) -> None:
        """Ask no more."""


class AskingThread:
    """Asks in a thread of its own."""

    def __init__(self, endpoints: Callable[[], list[Endpoint]], reactor: Any) -> None:
        self._endpoints = endpoints
        self._thread = Threads("rds-api", 1, reactor)

    def start(self) -> None:
        """Be ready. The thread begins with the first question."""
        self._thread.start()

    def ask(self) -> Deferred[list[Endpoint]]:
        """Ask once. Fails with ApiError."""
        return self._thread.run(self._endpoints)

    def stop(self) -> None:
        """Let the thread end."""
        self._thread.stop()


class Aws:
    """Asks the API at the start, every half a minute, and in trouble, at growing intervals.

    Servers that list each other, as those of Aurora do, are believed more than the API, which then says where they are.
    The address of each is looked up again and again, since that of an instance moves.
    """

    def __init__(self, api: Asking, make_named: Callable[[str, int], Named], reactor: Any) -> None:
        self._api = api
        self._make_named = make_named
        self._reactor = reactor
        self._found: Callable[[Sequence[Place]], None] | None = None
        self._answer: frozenset[str] = frozenset()
        self._endpoints: dict[str, Endpoint] = {}
        """By instance: those of the last answer, and those in use."""
        self._named: dict[Endpoint, Named] = {}
        self._places: dict[Endpoint, Sequence[Place]] = {}
        self._targets: Sequence[Target] = ()
        self._asking: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._asked = 0.0
        self._pause = FIRST / 2
        """Seconds from a question to the next one that trouble asks for, at least."""
        self._wanted = False
        """Trouble asks for the next question."""
        self._hurried = False
        """It did for the last one."""
        self._complaint = ""

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        """Begin to ask."""
        self._found = found
        self._api.start()
        self._ask()

    def hurry(self) -> None:
        """Look all names up again now, and ask the API soon."""
        for named in self._named.values():
            named.hurry()
        self._ask_soon()

    def seen(self, targets: Sequence[Target]) -> None:
        """Take what the targets say of their cluster, if they do."""
        self._targets = targets
        if not any(target.available for target in targets):
            self.hurry()
        elif not any(target.role is Role.READ_WRITE for target in targets):
            self._ask_soon()
        self._update()

    def stop(self) -> None:
        """Ask no more."""
        self._found = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._asking is not None:
            self._asking.cancel()
        self._api.stop()
        for named in self._named.values():
            named.stop()
        self._named.clear()

    # -- the API ------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._next = None
        self._hurried, self._wanted = self._wanted, False
        self._asked = self._reactor.seconds()
        self._asking = self._api.ask().addCallbacks(self._told, self._not_told)

    def _ask_soon(self) -> None:
        if self._wanted:
            return
        self._wanted = True
        if self._next is not None:
            now = self._reactor.seconds()
            soon = max(self._asked + self._pause, now + random.uniform(0, _SPREAD))
            if soon < self._next.getTime():
                self._next.reset(soon - now)

    def _told(self, endpoints: list[Endpoint]) -> None:
        if self._complaint:
            _log.info("the RDS API answers again")
            self._complaint = ""
        self._answer = frozenset(endpoint.instance for endpoint in endpoints)
        self._endpoints = {endpoint.instance: endpoint for endpoint in [*self._named, *endpoints]}
        self._schedule(failed=False)
        self._update()

    def _not_told(self, failure: Failure) -> None:
        if self._found is None:
            return
        reason = failure.getErrorMessage()
        if not failure.check(ApiError):
            reason = f"{failure.type.__name__ if failure.type else 'failure'}: {reason}"
        if reason != self._complaint:
            _log.warning("the RDS API does not say where the targets are; what is known of them is kept", reason=reason)
            self._complaint = reason
        self._schedule(failed=True)

    def _schedule(self, *, failed: bool) -> None:
        self._asking = None
        if failed or self._hurried:
            self._pause = min(2 * self._pause, EVERY)
        else:
            self._pause = FIRST / 2
        delay = self._pause if failed or self._wanted else EVERY
        self._next = self._reactor.callLater(delay * random.uniform(0.75, 1.25), self._ask)

    # -- what is made of it -------------------------------------------------------------------------------------------

    def _update(self) -> None:
        instances = {endpoint.host: endpoint.instance for endpoint in self._named}
        known = [
            (instances[target.place.name], target.health)
            for target in self._targets
            if target.place.name in instances
        ]
        listed = who_is_there(known)
        if listed is None:
            listed = self._answer
        elif not listed <= self._endpoints.keys():
            self._ask_soon()
        self._follow({self._endpoints[instance] for instance in listed if instance in self._endpoints})

    def _follow(self, endpoints: set[Endpoint]) -> None:
        if self._found is None:
            return
        gone = self._named.keys() - endpoints
        for endpoint in gone:
            self._named.pop(endpoint).stop()
            self._places.pop(endpoint, None)
        for endpoint in sorted(endpoints - self._named.keys()):
            self._named[endpoint] = named = self._make_named(endpoint.host, endpoint.port)
            named.start(partial(self._resolved, endpoint))
        if gone:
            self._tell()

    def _resolved(self, endpoint: Endpoint, places: Sequence[Place]) -> None:
        self._places[endpoint] = places
        self._tell()

    def _tell(self) -> None:
        places = [place for _, places in sorted(self._places.items()) for place in places]
        if self._found is not None and places:
            self._found(places)
