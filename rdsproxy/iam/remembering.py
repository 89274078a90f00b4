"""Tokens that somebody else has to be asked about: each once, few at a time, and not again until they expire."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from rdsproxy.iam.errors import TokenError, TokenUndecidedError, TooManyTokensError
from rdsproxy.iam.presigned import Presigned
from rdsproxy.interfaces import ITokenVerifier

MOST_WAITING: Final = 100
"""Tokens that are being proven or wait for that; whoever shows more is refused."""
MOST_REMEMBERED: Final = 10_000
"""Tokens; beyond, those that were proven first are forgotten, and asked about again."""
PATIENCE: Final = 10.0
"""Seconds that a client waits for the proof of its token."""


@dataclass(frozen=True)
class Claim:
    """A token that is well-formed, and good now, if what it claims is true."""

    request: Presigned
    prove: Callable[[], Deferred[None]] = field(repr=False)
    """Asks. Fails with TokenError, TokenUndecidedError. Need not be quick."""


class Prover(Protocol):
    """One way to have tokens proven."""

    def claim(self, password: bytes, user: str) -> Claim:
        """Look at the form of a token that `user` has shown. Asks nobody.

        Raises TokenError, or TokenUndecidedError if nobody could be asked.
        """


@implementer(ITokenVerifier)
class RememberingVerifier:
    """Has tokens proven by `prover`, `at_once` at a time. Keeps a hash of those that are.

    `clock` gives seconds since 1970.
    """

    def __init__(self, prover: Prover, at_once: int, clock: Callable[[], float], reactor: Any) -> None:
        self._prover = prover
        self._turns = DeferredSemaphore(at_once)
        self._clock = clock
        self._reactor = reactor
        self._proven: OrderedDict[bytes, Presigned] = OrderedDict()
        self._waiting: dict[bytes, list[Deferred[str]]] = {}
        self._running: set[Deferred[Any]] = set()

    def stop(self) -> None:
        """Let go of what is under way, and of whoever waits."""
        for waiting in list(self._waiting.values()):
            for done in list(waiting):
                done.cancel()
        for proving in list(self._running):
            proving.cancel()

    def verify(self, password: bytes, user: str, address: str) -> Deferred[str]:
        """Tell at once if it is known, or have it proven."""
        key = hashlib.sha256(user.encode() + b"\0" + password).digest()
        known = self._proven.get(key)
        if known is not None and self._clock() <= known.good_until:
            return succeed(known.signature)
        waiting, claim = self._waiting.get(key), None
        if waiting is None:
            try:
                claim = self._prover.claim(password, user)
            except (TokenError, TokenUndecidedError) as error:
                return fail(error)
            if len(self._waiting) >= MOST_WAITING:
                return fail(TooManyTokensError(f"{MOST_WAITING} others wait for that"))
            waiting = self._waiting[key] = []
        done: Deferred[str] = Deferred(waiting.remove)
        waiting.append(done)
        if claim is not None:
            self._turns.run(self._turn, key, claim)
        return done.addTimeout(PATIENCE, self._reactor, _took_too_long)

    def _turn(self, key: bytes, claim: Claim) -> Deferred[None]:
        if not self._waiting[key]:
            # Those who have shown it are gone.
            del self._waiting[key]
            return succeed(None)
        proving = claim.prove()
        self._running.add(proving)
        proving.addBoth(self._ran, proving).addTimeout(PATIENCE, self._reactor, _took_too_long)
        return proving.addCallbacks(self._succeeded, self._failed, (key, claim.request), {}, (key,))

    def _ran(self, result: Any, proving: Deferred[Any]) -> Any:
        self._running.discard(proving)
        return result

    def _succeeded(self, _: None, key: bytes, request: Presigned) -> None:
        self._proven[key] = request
        self._proven.move_to_end(key)
        if len(self._proven) > MOST_REMEMBERED:
            self._proven.popitem(last=False)
        self._tell(key, lambda done: done.callback(request.signature))

    def _failed(self, failure: Failure, key: bytes) -> None:
        self._tell(key, lambda done: done.errback(failure))

    def _tell(self, key: bytes, fire: Callable[[Deferred[str]], None]) -> None:
        waiting = self._waiting.pop(key)
        while waiting:
            # One of them may be the end of another.
            fire(waiting.pop(0))


def _took_too_long(*_: object) -> Any:
    raise TokenUndecidedError("it takes too long")
