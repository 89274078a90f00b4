"""The access keys that tokens are verified against, kept up to date."""

from __future__ import annotations

from typing import Any, Final

import structlog
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.credentials.backoff import Backoff
from rdsproxy.credentials.errors import SecretError
from rdsproxy.iam.errors import TokenUndecidedError
from rdsproxy.iam.keys import AccessKey, parse_keys
from rdsproxy.interfaces import ISecretSource, SecretVersions

_LAST_RETRY: Final = 30.0
"""Seconds after a read that has failed; not more than between two reads."""

_log = structlog.get_logger("rdsproxy.iam")


class KeptKeys:
    """Reads the secret of `source` again and again. What was read is used for `max_age` seconds at most."""

    def __init__(self, source: ISecretSource, max_age: float, reactor: Any) -> None:
        self._source = source
        self._max_age = max_age
        self._reactor = reactor
        self._keys: dict[str, AccessKey] | None = None
        self._text: str | bytes = b""
        self._read_at = 0.0
        self._complaint = ""
        self._interval = min(source.interval, max_age / 2)
        self._backoff = Backoff(min(1.0, self._interval), min(_LAST_RETRY, self._interval))
        self._next: IDelayedCall | None = None
        self._stopped = False

    def now(self) -> dict[str, AccessKey]:
        """Give the keys by their ids. Raises TokenUndecidedError if they are not known."""
        if self._keys is None or self._reactor.seconds() > self._read_at + self._max_age:
            raise TokenUndecidedError("the access keys cannot be read")
        return self._keys

    def start(self) -> None:
        """Begin to read. What can be read without waiting is known when this returns."""
        self._read()

    def stop(self) -> None:
        """Read no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _read(self) -> None:
        self._next = None
        maybeDeferred(self._source.read, False).addCallback(self._take).addCallbacks(self._succeeded, self._failed)

    def _take(self, versions: SecretVersions) -> None:
        if self._keys is None or versions.current != self._text:
            keys = parse_keys(self._source.name, versions.current)
            if self._keys is not None:
                _log.info("access keys changed", secret=self._source.name)
            self._keys, self._text = keys, versions.current
        self._read_at = self._reactor.seconds()

    def _succeeded(self, _: None) -> None:
        if self._complaint:
            _log.info("access keys can be read again", secret=self._source.name)
        self._complaint = ""
        self._backoff.reset()
        self._schedule(self._interval)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        # Of what is not expected its name alone: the rest might quote what was read.
        reason = error.reason if isinstance(error, SecretError) else f"unexpected {type(error).__name__}"
        if reason != self._complaint:
            _log.error("access keys cannot be read", secret=self._source.name, reason=reason)
        self._complaint = reason
        self._schedule(self._backoff.next())

    def _schedule(self, seconds: float) -> None:
        if not self._stopped:
            self._next = self._reactor.callLater(seconds, self._read)
