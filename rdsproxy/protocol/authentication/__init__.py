"""Proving passwords: as the client of a database, and as the server of clients. No I/O."""

from __future__ import annotations

from rdsproxy.protocol.authentication.client import ClientAuthentication
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, CLEAR, ED25519, NATIVE, fresh_nonce
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.protocol.authentication.server import ServerAuthentication
from rdsproxy.protocol.authentication.verifier import Verifier

__all__ = [
    "CACHING_SHA2",
    "CLEAR",
    "ED25519",
    "NATIVE",
    "ClientAuthentication",
    "RSAKeyPair",
    "ServerAuthentication",
    "Verifier",
    "fresh_nonce",
]
