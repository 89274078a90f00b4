"""Why a session must keep its database connection."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class PinReason(IntEnum):
    """What holds a session on its connection until the session ends or is reset, unless it says otherwise.

    One bit each. Sets of them are plain integers: the operators of enum.Flag would cost each transaction some 10 us.
    """

    NONE = 0
    USER_VARIABLE = 1
    LOCK = 2
    HANDLER = 4
    ROUTINE = 8
    UNTRACKED_SET = 16
    XA = 32
    SEQUENCE = 64
    STATE_CHANGE = 256
    VOLATILE_VARIABLE = 512
    TRACKERS_OFF = 1024
    # These end by themselves, when the server's trackers say so or with the next statement.
    LOCKED_TABLES = 4096
    NEXT_TRANSACTION = 8192
    CURSOR = 32768
    LONG_DATA = 65536
    VARIABLE_VALUE = 131072
    KILL = 262144
    TEMPORARY_TABLE = 524288
    PREPARED_TEXT = 1048576
    OPEN_HANDLER = 2097152
    USER_LOCK = 4194304
    READ_LOCK = 8388608
    XA_TRANSACTION = 67108864
    # These do not.
    ROLE = 16777216
    RESOURCE_GROUP = 33554432


# Among the pins, but none. The first two have to be asked for before the connection is given back.
UNREAD_VARIABLES: Final = 1 << 30
"""User variables may have changed."""
UNPROVED_CALLS: Final = 1 << 31
"""Procedures were called that are harmless if they still are what they were before."""
UNUSED_TRANSACTION: Final = 1 << 32
"""The last statement has begun a transaction, and that is all that has been done in it."""
STAINED: Final = 1 << 33
"""Something was set that is not known, and does not pin by EXCLUDE_VARIABLE_SETS: it goes no further."""
MARKS: Final = UNREAD_VARIABLES | UNPROVED_CALLS | UNUSED_TRANSACTION | STAINED
PASSING: Final = (
    PinReason.LOCKED_TABLES
    | PinReason.NEXT_TRANSACTION
    | PinReason.CURSOR
    | PinReason.LONG_DATA
    | PinReason.VARIABLE_VALUE
    | PinReason.TEMPORARY_TABLE
    | PinReason.PREPARED_TEXT
    | PinReason.OPEN_HANDLER
    | PinReason.USER_LOCK
    | PinReason.READ_LOCK
    | PinReason.XA_TRANSACTION
    | MARKS
)
"""Pins that end before the session does."""
OF_SETS: Final = PinReason.UNTRACKED_SET | PinReason.USER_VARIABLE
"""Pins by the text of a SET, which EXCLUDE_VARIABLE_SETS makes stains."""

_TEXTS: Final = {
    PinReason.USER_VARIABLE: "a statement names a user variable by other characters than A-Z, 0-9, '_', '.' and '$'",
    PinReason.LOCK: "a statement takes a lock that belongs to its connection, in a way whose end cannot be told",
    PinReason.HANDLER: "a statement uses HANDLER in a way whose end cannot be told",
    PinReason.ROUTINE: "a statement runs a procedure or a prepared text, or cannot be read for certain: it may change "
    "anything in the session",
    PinReason.UNTRACKED_SET: "a SET was not reported by the server's session trackers",
    PinReason.XA: "a statement belongs to an XA transaction whose end cannot be told",
    PinReason.SEQUENCE: "a statement uses a sequence, whose last value belongs to its connection",
    PinReason.STATE_CHANGE: "the server reports a change that cannot be written back, such as a temporary table",
    PinReason.VOLATILE_VARIABLE: "a variable was set that the server itself goes on to change",
    PinReason.TRACKERS_OFF: "the session trackers were set by a statement of which not all can be told otherwise",
    PinReason.LOCKED_TABLES: "tables are locked",
    PinReason.NEXT_TRANSACTION: "what was set for the next transaction may have ended",
    PinReason.CURSOR: "a prepared statement has an open cursor",
    PinReason.LONG_DATA: "a prepared statement was sent a part of its parameters (COM_STMT_SEND_LONG_DATA)",
    PinReason.VARIABLE_VALUE: "a user variable has a value that cannot be written back: more than 16 KiB, or of a type "
    "or character set that no literal has for certain",
    PinReason.KILL: "a KILL QUERY for it is on its way to the server",
    PinReason.TEMPORARY_TABLE: "there is a temporary table",
    PinReason.PREPARED_TEXT: "a text was prepared (PREPARE)",
    PinReason.OPEN_HANDLER: "a HANDLER is open",
    PinReason.USER_LOCK: "a lock is held (GET_LOCK)",
    PinReason.READ_LOCK: "tables are locked by FLUSH TABLES",
    PinReason.XA_TRANSACTION: "an XA transaction is open",
    PinReason.ROLE: "the server names the active roles in a way that is not understood",
    PinReason.RESOURCE_GROUP: "SET RESOURCE GROUP is not reported by the server's session trackers",
}

VOLATILE: Final = frozenset(
    (
        b"character_set_database",
        b"collation_database",
        b"timestamp",
        b"insert_id",
        b"rand_seed1",
        b"rand_seed2",
        b"pseudo_thread_id",
        b"pseudo_slave_mode",
        b"pseudo_replica_mode",
        b"gtid_next",
        b"gtid_seq_no",
        b"profiling",
        b"server_id",
        b"debug_sync",
    )
)
"""Variables that the server changes by itself, or whose tracked value is not the one in force."""

COMPLETION_TYPE: Final = b"completion_type"
"""As RELEASE it makes the server close the connection behind each transaction: nobody else's may be closed so."""
TRACKERS: Final[tuple[bytes, bytes, bytes, bytes]] = (
    b"session_track_system_variables",
    b"session_track_schema",
    b"session_track_state_change",
    b"session_track_transaction_info",
)
"""Variables that say what the trackers tell."""
CHANGING: Final = (b"statement_id", b"last_gtid")
"""Variables that statements change by themselves: MySQL's counter, and MariaDB's position in its binary log."""


def reasons_in(pins: int) -> list[PinReason]:
    """Give the reasons in a set of them."""
    return [reason for reason in _TEXTS if pins & reason]


def explain(pins: int) -> str:
    """Give the reasons in words, for the log."""
    return "; ".join(_TEXTS[reason] for reason in reasons_in(pins))
