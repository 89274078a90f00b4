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
    """One user's plugin and the hashes of the password. Built once for each credential, not for each login.

    Raises ValueError for a plugin that clients are not offered, and for text that is not Unicode.
    """

    __slots__ = ("_native", "_sha2", "is_empty", "plugin")

    def __init__(self, password: str, plugin: str) -> None:
        if plugin not in (NATIVE, CACHING_SHA2):
            raise ValueError(f"clients cannot log in by {plugin!r}, only by {NATIVE} or {CACHING_SHA2}")
        secret = password_bytes(password)
        self.plugin = plugin
        self.is_empty = not secret
        self._native = native_stored(secret)
        self._sha2 = caching_sha2_stored(secret)

    @classmethod
    def decoy(cls, plugin: str) -> Verifier:
        """Give one that nothing matches: unknown users are measured against it, at the same cost as known ones."""
        return cls(secrets.token_hex(32), plugin)

    def accepts_response(self, nonce: bytes, response: bytes) -> bool:
        """Tell whether the plugin's response to the nonce proves the password."""
        if self.plugin == NATIVE:
            return native_matches(self._native, nonce, response)
        return caching_sha2_matches(self._sha2, nonce, response)

    def accepts_password(self, password: bytes) -> bool:
        """Tell whether this is the password. Takes as long however much of it is right."""
        return compare_digest(caching_sha2_stored(password), self._sha2)


def password_bytes(password: str) -> bytes:
    """Encode a password for the wire. Raises ValueError, without the password in it, if it is not Unicode text."""
    try:
        return password.encode()
    except UnicodeEncodeError:
        raise ValueError("the password holds half of a surrogate pair, so it is not Unicode text") from None
