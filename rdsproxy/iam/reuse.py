"""Whether a token that has let somebody in may be shown again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.presigned import MAX_LIFETIME, MAX_SKEW
from rdsproxy.interfaces import ITokenVerifier

_KEPT: Final = MAX_LIFETIME + MAX_SKEW
"""Seconds after which a token that was good has expired in any case."""


@implementer(ITokenVerifier)
class FirstUse:
    """Refuses tokens that `verifier` has let in before: all of them, or with `same_address` those from elsewhere.

    What is kept is bounded by time alone: whoever adds to it has proven something, and to forget a token early would
    let it in twice. `seconds` is the clock for that.
    """

    def __init__(self, verifier: ITokenVerifier, same_address: bool, seconds: Callable[[], float]) -> None:
        self._verifier = verifier
        self._same_address = same_address
        self._seconds = seconds
        self._used: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """By hash: when and from where a token was first good, in that order."""

    def verify(self, password: bytes, user: str, address: str) -> Deferred[str]:
        """Verify it, and see whether it is new."""
        return self._verifier.verify(password, user, address).addCallback(self._use, address)

    def _use(self, signature: str, address: str) -> str:
        now = self._seconds()
        while self._used and next(iter(self._used.values()))[0] < now - _KEPT:
            self._used.popitem(last=False)
        # By its signature: the rest can be written in other ways that mean the same.
        key = hashlib.sha256(signature.encode()).digest()
        first = self._used.get(key)
        if first is None:
            self._used[key] = now, address
        elif not self._same_address:
            raise TokenError("it has been used before")
        elif first[1] != address:
            raise TokenError("it was first used from another address")
        return signature
