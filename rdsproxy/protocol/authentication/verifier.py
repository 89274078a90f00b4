"""What the proxy keeps of a client's password in order to check it."""

from __future__ import annotations

import secrets
from hmac import compare_digest

from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, NATIVE
from rdsproxy.protocol.authentication.scrambles import (
    caching_sha2_matches,
    caching_sha2_stored,
    native_matches,
    native_stored,
)


class Verifier:
    """One user's plugin and the hashes of the password, and of one before that is `previous`.

    Built once for each credential, not for each login.

    Raises ValueError for a plugin that clients are not offered, and for text that is not Unicode.
    """

    __slots__ = ("_native", "_sha2", "is_empty", "plugin")

    def __init__(self, password: str, plugin: str, previous: str | None = None) -> None:
        if plugin not in (NATIVE, CACHING_SHA2):
            raise ValueError(f"clients cannot log in by {plugin!r}, only by {NATIVE} or {CACHING_SHA2}")
        self.plugin = plugin
        self.is_empty = not password
        # Always two, so that a check takes as long whether or not there is another: this random one proves nothing.
        first, second = password_bytes(password), password_bytes(previous or secrets.token_hex(32))
        self._native = native_stored(first), native_stored(second)
        self._sha2 = caching_sha2_stored(first), caching_sha2_stored(second)

    @classmethod
    def decoy(cls, plugin: str) -> Verifier:
        """Give one that nothing matches: unknown users are measured against it, at the same cost as known ones."""
        return cls(secrets.token_hex(32), plugin)

    def accepts_response(self, nonce: bytes, response: bytes) -> bool:
        """Tell whether the plugin's response to the nonce proves a password."""
        matches = native_matches if self.plugin == NATIVE else caching_sha2_matches
        first, second = self._native if self.plugin == NATIVE else self._sha2
        # Not `or`, which would tell by its time which of them it was.
        return matches(first, nonce, response) | matches(second, nonce, response)

    def accepts_password(self, password: bytes) -> bool:
        """Tell whether this is a password. Takes as long however much of it is right."""
        hashed = caching_sha2_stored(password)
        first, second = self._sha2
        return compare_digest(hashed, first) | compare_digest(hashed, second)


def password_bytes(password: str) -> bytes:
    """Encode a password for the wire. Raises ValueError, without the password in it, if it is not Unicode text."""
    try:
        return password.encode()
    except UnicodeEncodeError:
        raise ValueError("the password holds half of a surrogate pair, so it is not Unicode text") from None
