"""Doors that nobody listens at: what clients meet in tests that have no sockets."""

from __future__ import annotations

from typing import Any

from rdsproxy.backend.known import Known
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.door import Door
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.wire import Wires

KEYS = RSAKeyPair.generate()


def door(
    known: Known,
    accounts: Accounts,
    wires: Wires,
    *,
    tls: Any = None,
    max_connections: int = 10,
    handshake_timeout: float = 10.0,
) -> Door:
    """Make one with the time of `wires`, and no limit of its own but these."""
    return Door(
        known=known,
        accounts=accounts,
        keys=KEYS,
        tls=tls,
        require_tls=False,
        max_connections=max_connections,
        max_connection_rate=None,
        max_failed_logins=100,
        handshake_timeout=handshake_timeout,
        idle_timeout=1800.0,
        debug=False,
        wires=wires,
        reactor=wires.reactor,
    )
