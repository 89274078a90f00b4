"""Other sessions, which see to it that a client gets another database connection than the last time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pymysql.constants import CLIENT

from tests.integration.proxy import Account, Proxy, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection


class Turns:
    """Two sessions with transactions, which by turns hold one of the two connections of ``proxy``.

    In a transaction they hold what the proxy would not lend to others. Only connections with the same ``found_rows``
    are lent to the same clients.
    """

    def __init__(self, proxy: Proxy, account: Account, *, found_rows: bool) -> None:
        flag = CLIENT.FOUND_ROWS if found_rows else 0
        self._sessions: list[Connection] = [proxy.connect(account, client_flag=flag) for _ in range(2)]
        for number, session in enumerate(self._sessions):
            # Their own state differs from the clients' and from each other's.
            run(session, f"SET time_zone = '+0{number + 1}:00', NAMES latin1, sql_mode = ''")

    def __enter__(self) -> Self:
        _hold(self._sessions[0])
        return self

    def __exit__(self, *exc: object) -> None:
        for session in self._sessions:
            session.close()

    def turn(self) -> None:
        """Take the connection that the clients have used, and leave them the other one."""
        free = self._sessions[1]
        _hold(free)
        self._sessions[0].rollback()
        self._sessions.reverse()


def _hold(session: Connection) -> None:
    run(session, "BEGIN")
    run(session, "SELECT id FROM numbers LIMIT 1")
