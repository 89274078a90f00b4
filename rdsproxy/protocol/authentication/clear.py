"""mysql_clear_password, as the server of a client: it shows what it has, which is for a token, and for TLS.

Source: "Client-Side Cleartext Pluggable Authentication" of MySQL's manual.
"""

from __future__ import annotations

from typing import Final

from rdsproxy.protocol.authentication.plugins import CLEAR
from rdsproxy.protocol.handshake import AuthSwitchRequest

ASK: Final = AuthSwitchRequest(CLEAR, b"").build()
"""The payload that has the client show its password. Not to be sent where others can read the answer."""


def shown(payload: bytes) -> bytes:
    """Give the password in the payload that answers `ASK`; clients put a NUL behind it."""
    return payload.removesuffix(b"\0")
