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
    COUNTED_ROWS = 16384
    CURSOR = 32768
    LONG_DATA = 65536
    VARIABLE_VALUE = 131072
    KILL = 262144
    TEMPORARY_TABLE = 524288
    PREPARED_TEXT = 1048576
    OPEN_HANDLER = 2097152
    USER_LOCK = 4194304
    READ_LOCK = 8388608
    # This one does not.
    ROLE = 16777216


UNREAD_VARIABLES: Final = 1 << 30
"""Among the pins, but none: user variables have to be asked for before the connection is given back."""
PASSING: Final = (
    PinReason.LOCKED_TABLES
    | PinReason.NEXT_TRANSACTION
    | PinReason.COUNTED_ROWS
    | PinReason.CURSOR
    | PinReason.LONG_DATA
    | PinReason.VARIABLE_VALUE
    | PinReason.TEMPORARY_TABLE
    | PinReason.PREPARED_TEXT
    | PinReason.OPEN_HANDLER
    | PinReason.USER_LOCK
    | PinReason.READ_LOCK
    | UNREAD_VARIABLES
)
"""Pins that end before the session does."""

_TEXTS: Final = {
    PinReason.USER_VARIABLE: "a statement names a user variable by other characters than A-Z, 0-9, '_', '.' and '$'",
    PinReason.LOCK: "a statement takes a lock that belongs to its connection, in a way whose end cannot be told",
    PinReason.HANDLER: "a statement uses HANDLER in a way whose end cannot be told",
    PinReason.ROUTINE: "a statement runs a procedure or a prepared text, which may change anything in the session",
    PinReason.UNTRACKED_SET: "a SET was not reported by the server's session trackers",
    PinReason.XA: "a statement belongs to an XA transaction",
    PinReason.SEQUENCE: "a statement uses a sequence, whose last value belongs to its connection",
    PinReason.STATE_CHANGE: "the server reports a change that cannot be written back, such as a temporary table",
    PinReason.VOLATILE_VARIABLE: "a variable was set that the server itself goes on to change",
    PinReason.TRACKERS_OFF: "the session trackers were set by the client",
    PinReason.LOCKED_TABLES: "tables are locked",
    PinReason.NEXT_TRANSACTION: "the characteristics of the next transaction were set",
    PinReason.COUNTED_ROWS: "SQL_CALC_FOUND_ROWS, until the next statement",
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
    PinReason.ROLE: "SET ROLE and SET RESOURCE GROUP are not reported by the server's session trackers",
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

TRACKERS: Final = frozenset(
    (
        b"session_track_system_variables",
        b"session_track_schema",
        b"session_track_state_change",
        b"session_track_transaction_info",
    )
)


def explain(pins: int) -> str:
    """Give the reasons in words, for the log."""
    return "; ".join(text for reason, text in _TEXTS.items() if pins & reason)
