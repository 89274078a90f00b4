"""One secret as the proxy holds it: read in time, kept while its store is away, but not for ever."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.credentials.backoff import Backoff, Doubts
from rdsproxy.credentials.errors import SecretError, SecretUnavailableError
from rdsproxy.credentials.parsing import parse
from rdsproxy.credentials.turns import Turns
from rdsproxy.interfaces import Credential, SecretVersions, UsedSecret

FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 30.0
"""Seconds after a read that has failed; not more than between two reads."""

_log = structlog.get_logger("rdsproxy.credentials")


@dataclass(frozen=True)
class SecretPolicy:
    """For how long what was read is good."""

    max_age: float
    """Seconds after the last successful read: beyond, the secret is not used any more."""
    previous_grace: float
    """Seconds after a change for which clients may still prove the password before."""


class CachedSecret:
    """Keeps the versions of one secret up to date. `changed` is called when they have become others."""

    def __init__(
        self,
        used: UsedSecret,
        policy: SecretPolicy,
        changed: Callable[[], None],
        reactor: Any,
    ) -> None:
        source, self.plugin, self._subject = used
        self.name: str = source.name
        self.current: Credential | None = None
        self.previous: Credential | None = None
        self.answered = False
        """It is known what it holds, or that it cannot be used."""
        self._complaint = ""
        """What was wrong when it was last read."""
        self._pending: Credential | None = None
        self._source = source
        self._policy = policy
        self._changed = changed
        self._reactor = reactor
        self._read_at = 0.0
        self._grace_ends = 0.0
        self._next: IDelayedCall | None = None
        # Often enough that one failure, and those that follow it, do not make it too old.
        self._interval = min(source.interval, policy.max_age / 2)
        self._backoff = Backoff(min(FIRST_RETRY, self._interval), min(LAST_RETRY, self._interval))
        self._turns = Turns(self._read)
        self._refused = False
        self._news = 0
        self._doubts = Doubts(lambda: self.look(refused=True), reactor)
        self._was_fresh = False
        self._stopped = False

    def start(self) -> None:
        """Begin to read it. It may be known when this returns."""
        self._turns.ask()

    def stop(self) -> None:
        """Read it no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def is_fresh(self) -> bool:
        """Whether it may be used."""
        age: float = self._reactor.seconds() - self._read_at
        return self.current is not None and age <= self._policy.max_age

    def accepted(self, username: str) -> tuple[Credential, ...]:
        """Give what a client of this name may prove: the current credential, and for the grace time the one before."""
        if not self.is_fresh:
            return ()
        versions = [self.current]
        if self._reactor.seconds() < self._grace_ends:
            versions.append(self.previous)
        return tuple(version for version in versions if version is not None and version.username == username)

    def candidates(self, username: str) -> Sequence[Credential]:
        """Give what the database may have of this user, each once, the likeliest first.

        After a refusal the next one is tried: then a rotation may have set what is still pending.
        """
        if not self.is_fresh:
            return ()
        versions = [self.current, self._pending, self.previous]
        if self.current is not None and self.current.username != username:
            # Of two users who alternate, the one whose turn it is not.
            versions = [self.previous, self._pending]
        mine = [version for version in versions if version is not None and version.username == username]
        return tuple(dict.fromkeys(mine))

    # -- reading ------------------------------------------------------------------------------------------------------

    def look(self, *, refused: bool = False) -> Deferred[bool]:
        """Read it now, and tell whether there is something new. Never fails."""
        before = self._news
        self._refused |= refused
        return self._turns.ask().addCallback(lambda _: self._news != before)

    def refused(self) -> Deferred[None]:
        """The database has refused it: read it now, unless that was of no use lately. Never fails."""
        return self._doubts.raised()

    def _read(self) -> Deferred[None]:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        refused, self._refused = self._refused, False
        reading = maybeDeferred(self._source.read, refused)
        return reading.addCallback(self._take, refused).addCallbacks(self._succeeded, self._failed)

    def _take(self, versions: SecretVersions, refused: bool) -> None:
        current = parse(self.name, versions.current, self.plugin, self._subject)
        previous, pending = self._other(versions.previous), self._other(versions.pending)
        known = self.current, self.previous, self._pending
        now = self._reactor.seconds()
        changed = current != self.current
        if previous is None:
            # Where it is kept nothing is known of one: then it is what was current here.
            previous = self.current if changed else self.previous
        if not changed and not refused:
            pending = self._pending
        elif changed:
            # One that was changed before the proxy began has had a part of its time.
            self._grace_ends = now + self._policy.previous_grace - (versions.age if self.current is None else 0.0)
            if self.current is not None:
                _log.info("secret changed", secret=self.name, user=current.username)
        self.current, self.previous, self._pending = current, previous, pending
        self._read_at = now
        if known != (current, previous, pending):
            self._news += 1
            self._changed()

    def _other(self, text: str | bytes | None) -> Credential | None:
        if text is None:
            return None
        try:
            return parse(self.name, text, self.plugin, self._subject)
        except SecretError:
            # The one that counts is fine; a rotation that went wrong is its own function's to report.
            return None

    def _succeeded(self, _: None) -> None:
        if self._complaint:
            _log.info("secret can be used again", secret=self.name)
        self.answered, self._complaint, self._was_fresh = True, "", True
        self._backoff.reset()
        self._schedule(self._interval * random.uniform(0.75, 1.0))

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, SecretError):
            # Not the message, which might quote what was read.
            error = SecretUnavailableError(self.name, f"unexpected {type(error).__name__} while it was read")
        self.answered = self.answered or not isinstance(error, SecretUnavailableError)
        if self._complaint != error.reason:
            event = "secret cannot be read; what was read before is kept" if self.is_fresh else "secret cannot be used"
            _log.error(event, secret=self.name, reason=error.reason)
        self._complaint = error.reason
        if self._was_fresh and not self.is_fresh:
            self._was_fresh = False
            _log.error("secret is too old to be used", secret=self.name, max_age=self._policy.max_age)
        self._schedule(self._backoff.next())

    def _schedule(self, seconds: float) -> None:
        if not self._stopped:
            self._next = self._reactor.callLater(seconds, self._due)

    def _due(self) -> None:
        self._next = None
        self._turns.ask()
