"""caching_sha2_password in full, on a connection that others can read: the password under the server's RSA key.

RSA-OAEP with SHA-1, of the password and a NUL, XORed with the nonce. Source: "Caching_sha2_password information" of
the MySQL internals manual.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from rdsproxy.protocol.authentication.plugins import xor
from rdsproxy.protocol.errors import AuthenticationError

MIN_KEY_SIZE = 2048
"""Bits; what MySQL generates. A shorter key may be one that an attacker can break."""

_padding = OAEP(MGF1(SHA1()), SHA1(), None)  # noqa: S303 - the protocol's choice, and sound inside OAEP


class RSAKeyPair:
    """The proxy's own key, for clients without TLS."""

    __slots__ = ("_private", "public_pem")

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self.public_pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        """What a client is given when it asks."""

    @classmethod
    def generate(cls, bits: int = MIN_KEY_SIZE) -> RSAKeyPair:
        """Make a new key, which takes about a tenth of a second."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def decrypt(self, ciphertext: bytes, nonce: bytes) -> bytes | None:
        """Give the password that a client encrypted, or None for whatever is not one, with no reason given."""
        try:
            plain = _mask(self._private.decrypt(ciphertext, _padding), nonce)
        except ValueError:
            return None
        return plain[:-1] if plain.endswith(b"\0") else None


def encrypt_password(password: bytes, nonce: bytes, public_pem: bytes) -> bytes:
    """Encrypt a password for the holder of a public key.

    Raises AuthenticationError for a key that is none, that is short, or that cannot hold this password.
    """
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm):
        raise AuthenticationError("the database's public key cannot be read: use TLS towards it") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_KEY_SIZE:
        raise AuthenticationError(
            f"the database's public key is not RSA of at least {MIN_KEY_SIZE} bits: use TLS towards it"
        )
    try:
        return key.encrypt(_mask(password + b"\0", nonce), _padding)
    except ValueError:
        raise AuthenticationError("the password is too long for the database's RSA key: use TLS towards it") from None


def _mask(data: bytes, nonce: bytes) -> bytes:
    return xor(data, (nonce * (len(data) // len(nonce) + 1))[: len(data)])
