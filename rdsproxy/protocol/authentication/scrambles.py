"""The responses that prove a password without showing it: mysql_native_password and caching_sha2_password.

Both are `hash(password) XOR hash(nonce with hash(hash(password)))`: a server that keeps only hash(hash(password))
can undo the XOR and hash once more. Source: "Native Authentication" and "Caching_sha2_password information" of
the MySQL internals manual.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest

from rdsproxy.protocol.authentication.plugins import xor


def native_stored(password: bytes) -> bytes:
    """Give what a server keeps for mysql_native_password."""
    return _sha1(_sha1(password))


def native_scramble(password: bytes, nonce: bytes) -> bytes:
    """Give the 20 bytes that answer a 20-byte nonce for mysql_native_password; none for an empty password."""
    if not password:
        return b""
    once = _sha1(password)
    return xor(once, _sha1(nonce + _sha1(once)))


def native_matches(stored: bytes, nonce: bytes, response: bytes) -> bool:
    """Tell whether a response proves the password of `native_stored`."""
    if len(response) != 20:
        return False
    once = xor(response, _sha1(nonce + stored))
    return compare_digest(_sha1(once), stored)


def caching_sha2_stored(password: bytes) -> bytes:
    """Give what a server keeps in its cache for caching_sha2_password."""
    return _sha256(_sha256(password))


def caching_sha2_scramble(password: bytes, nonce: bytes) -> bytes:
    """Give the 32 bytes that answer a 20-byte nonce for caching_sha2_password; none for an empty password."""
    if not password:
        return b""
    once = _sha256(password)
    return xor(once, _sha256(_sha256(once) + nonce))


def caching_sha2_matches(stored: bytes, nonce: bytes, response: bytes) -> bool:
    """Tell whether a response proves the password of `caching_sha2_stored`."""
    if len(response) != 32:
        return False
    once = xor(response, _sha256(stored + nonce))
    return compare_digest(_sha256(once), stored)


def _sha1(data: bytes) -> bytes:
    # The protocol leaves no choice of hash; without the flag, machines in FIPS mode refuse it.
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
