"""How long to wait after a failure, and how soon to look again because of a refusal."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from rdsproxy.credentials.turns import Turns

_JITTER: Final = 0.25


class Backoff:
    """Pauses that double, from `first` to `last` seconds, each a quarter more or less: many proxies meet the same."""

    def __init__(self, first: float, last: float) -> None:
        self._first = self._pause = first
        self._last = last

    def next(self) -> float:
        """Give the pause that is due now, in seconds."""
        pause, self._pause = self._pause, min(2 * self._pause, self._last)
        return pause * random.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """Begin with the first again."""
        self._pause = self._first


FIRST_PAUSE: Final = 1.0
"""Seconds between two looks that refusals ask for, at least, and for which whoever was refused waits."""
LAST_PAUSE: Final = 32.0
"""Seconds after many looks that have found nothing new: a wrong password is not to become a burden to the store."""
WAKE: Final = 10.0
"""Seconds after news in which looks that find none do not count: others have been refused for the same change."""
PATIENCE: Final = 5.0
"""Seconds that whoever was refused waits for the store's answer."""


class Doubts:
    """Looks again, by `look`, when what is known was refused by somebody; `look` tells whether it has found news."""

    def __init__(self, look: Callable[[], Deferred[bool]], reactor: Any) -> None:
        self._look = look
        self._reactor = reactor
        self._turns = Turns(self._turn)
        self._backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        self._not_before = 0.0
        self._news_until = 0.0

    def raised(self) -> Deferred[None]:
        """Look, if it is time to. Fires when that is done or has taken too long, never fails. Cancellable."""
        pause = self._not_before - self._reactor.seconds()
        if pause > FIRST_PAUSE * (1 + _JITTER):
            return succeed(None)
        if pause <= 0:
            looked = self._turns.ask()
        else:
            looked = deferLater(self._reactor, pause).addCallback(self._due)
        return looked.addTimeout(pause + PATIENCE if pause > 0 else PATIENCE, self._reactor, lambda *_: None)

    def _due(self, _: None) -> Deferred[None] | None:
        # Whoever has waited for the same moment may have looked already, or be looking.
        return None if self._not_before > self._reactor.seconds() else self._turns.join()

    def _turn(self) -> Deferred[None]:
        return self._look().addCallback(self._looked)

    def _looked(self, news: bool) -> None:
        now = self._reactor.seconds()
        if news:
            self._news_until = now + WAKE
        if now < self._news_until:
            self._backoff.reset()
        self._not_before = now + self._backoff.next()
