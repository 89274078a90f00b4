"""What the proxy answers itself shows the session's lasting status flags, and no flag of the statement before."""

from __future__ import annotations

from tests.integration.packets import Packets, status_of_ok
from tests.integration.proxy import NATIVE, Proxy


def test_status_of_a_ping(narrow: Proxy, table: str) -> None:
    server = narrow.server
    for sql in (f"SELECT * FROM {table}", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET autocommit = 0"):
        with Packets(narrow.host, narrow.port) as session, Packets(server.host, server.port, NATIVE) as judge:
            for client in (session, judge):
                client.query(sql)
            assert status_of_ok(session.command(0x0E)) == status_of_ok(judge.command(0x0E)), sql
