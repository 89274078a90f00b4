"""What clients are told when the proxy, not the database, ends a command. No host name, no secret."""

from __future__ import annotations

from typing import Final

from rdsproxy.backend.login import LoginError
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.responses import Err

BROKEN: Final = (LoginError, AuthenticationError, ProtocolError)
"""Why a connection could not be made like new, by the server's fault: it is of no use any more."""

NO_SCHEMA: Final = frozenset((1044, 1049))
"""The server's ER_DBACCESS_DENIED_ERROR and ER_BAD_DB_ERROR."""
NO_ROLE: Final = frozenset((1959, 3530))
"""MariaDB's ER_INVALID_ROLE and MySQL's ER_ROLE_NOT_GRANTED."""

# CR_SERVER_LOST is the code by which drivers and ORMs know that their connection to the database broke.
LOST: Final = Err(
    2013,
    "08S01",
    "Lost connection to the database during the statement; whether it took effect is not known. "
    "This client connection goes on in a new database session",
)
SESSION_LOST: Final = Err(
    2013,
    "08S01",
    "Lost connection to the database between statements: an open transaction is rolled back, temporary tables, "
    "locks and prepared statements are gone. This client connection goes on in a new database session",
)
# ER_LOCK_DEADLOCK: by it, and by its SQLSTATE, drivers and frameworks know a transaction that is to be tried again.
ROLLED_BACK: Final = Err(
    1213,
    "40001",
    "The database was lost, and with it the open transaction, which is rolled back; try restarting transaction. "
    "This client connection goes on",
)
STATE_LOST: Final = Err(
    1105,
    "HY000",
    "The statement before this one was run, but the database could not be asked what it made of the session. "
    "This client connection goes on in a new database session",
)
DIAGNOSTICS_GONE: Final = Err(
    1105,
    "HY000",
    "What the previous statement left behind (warnings, ROW_COUNT(), FOUND_ROWS()) is gone: its database connection "
    "has run something else since. Read it in the same packet (multi-statements) or inside a transaction",
)
TYPES_GONE: Final = Err(
    1105,
    "HY000",
    "The types of the parameters were told under another character set, on a database connection that the session has "
    "left. Tell them again, or change the character set before the statement is first executed",
)
INTERRUPTED: Final = Err(1317, "70100", "Query execution was interrupted")
KILLED: Final = Err(1927, "70100", "Connection was killed")
"""What MariaDB tells a client that kills itself; MySQL says INTERRUPTED."""
NOT_KILLED: Final = Err(1105, "HY000", "The database could not be reached to interrupt the statement")
INTERNAL: Final = Err(1105, "HY000", "Internal error in the proxy; its log has the details")
UNKNOWN_COMMAND: Final = Err(1047, "08S01", "Unknown command")
NOT_PREPARED: Final = Err(1295, "HY000", "This command is not supported in the prepared statement protocol yet")
MALFORMED: Final = Err(1835, "HY000", "Malformed communication packet")
OUT_OF_ORDER: Final = Err(1156, "08S01", "Got packets out of order")


def unknown_thread(number: int) -> Err:
    """Give the error for a KILL of nobody."""
    return Err(1094, "HY000", f"Unknown thread id: {number}")


def not_owner(number: int) -> Err:
    """Give the error for a KILL of another user's connection."""
    return Err(1095, "HY000", f"You are not owner of thread {number}")
