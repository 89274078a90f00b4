"""The names of authentication plugins, and nonces."""

from __future__ import annotations

import secrets
from typing import Final

from rdsproxy.protocol.handshake import NATIVE, NONCE_SIZE

CACHING_SHA2: Final = "caching_sha2_password"
CLEAR: Final = "mysql_clear_password"
ED25519: Final = "client_ed25519"

__all__ = ["CACHING_SHA2", "CLEAR", "ED25519", "NATIVE", "NONCE_SIZE", "fresh_nonce", "xor"]

# 93 of the 7-bit characters: clients end the nonce at a NUL, and "$" separates the fields of a stored password.
_alphabet = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("$"))
_acceptable = 256 - 256 % len(_alphabet)
_from_random = bytes(_alphabet[byte % len(_alphabet)] for byte in range(256))
_refused = bytes(range(_acceptable, 256))


def fresh_nonce() -> bytes:
    """Give 20 random printable bytes, to be used for one authentication response."""
    nonce = b""
    while len(nonce) < NONCE_SIZE:
        nonce += secrets.token_bytes(2 * NONCE_SIZE).translate(_from_random, _refused)
    return nonce[:NONCE_SIZE]


def xor(left: bytes, right: bytes) -> bytes:
    """Combine two strings of the same length."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
