"""MariaDB's client_ed25519: the password, of any length, takes the place of the 32-byte seed of an Ed25519 key.

That is why `cryptography`, which knows seeds only, cannot sign here, and libsodium's arithmetic (PyNaCl) does.
Source: RFC 8032 section 5.1, with the seed replaced; "Authentication Plugin - ed25519" of MariaDB's manual.
"""

from __future__ import annotations

from hashlib import sha512

from nacl import bindings as sodium


def sign(password: bytes, nonce: bytes) -> bytes:
    """Give the 64-byte signature of a 32-byte nonce."""
    expanded = sha512(password).digest()
    scalar = bytearray(expanded[:32])
    scalar[0] &= 0b11111000
    scalar[31] = scalar[31] & 0b00111111 | 0b01000000
    secret = bytes(scalar)
    public = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    once = _reduce(expanded[32:] + nonce)
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(once)
    challenge = _reduce(point + public + nonce)
    product = sodium.crypto_core_ed25519_scalar_mul(challenge, secret)
    return point + sodium.crypto_core_ed25519_scalar_add(product, once)


def _reduce(message: bytes) -> bytes:
    return sodium.crypto_core_ed25519_scalar_reduce(sha512(message).digest())
