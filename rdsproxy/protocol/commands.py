"""Commands: the first byte of what a client sends, and how each one is answered.

Source: "Command Phase" in the MySQL internals manual (page_protocol_command_phase).
"""

from __future__ import annotations

from typing import Final

from pymysql.constants import COMMAND

from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, frame

SLEEP: Final = COMMAND.COM_SLEEP
QUIT: Final = COMMAND.COM_QUIT
INIT_DB: Final = COMMAND.COM_INIT_DB
QUERY: Final = COMMAND.COM_QUERY
FIELD_LIST: Final = COMMAND.COM_FIELD_LIST
STATISTICS: Final = COMMAND.COM_STATISTICS
PROCESS_INFO: Final = COMMAND.COM_PROCESS_INFO
PROCESS_KILL: Final = COMMAND.COM_PROCESS_KILL
PING: Final = COMMAND.COM_PING
CHANGE_USER: Final = COMMAND.COM_CHANGE_USER
STMT_PREPARE: Final = COMMAND.COM_STMT_PREPARE
STMT_EXECUTE: Final = COMMAND.COM_STMT_EXECUTE
STMT_SEND_LONG_DATA: Final = COMMAND.COM_STMT_SEND_LONG_DATA
STMT_CLOSE: Final = COMMAND.COM_STMT_CLOSE
STMT_RESET: Final = COMMAND.COM_STMT_RESET
SET_OPTION: Final = COMMAND.COM_SET_OPTION
STMT_FETCH: Final = COMMAND.COM_STMT_FETCH
RESET_CONNECTION: Final = 0x1F
STMT_BULK_EXECUTE: Final = 0xFA

MULTI_STATEMENTS_ON: Final = 0
MULTI_STATEMENTS_OFF: Final = 1
"""The two options of COM_SET_OPTION."""


def query(sql: bytes) -> bytes:
    """Give the packets of a COM_QUERY."""
    return frame(b"\x03" + sql)


def text_of(packets: bytes) -> bytes | None:
    """Give the statements of a COM_QUERY; None for any other command, or one of more than one packet."""
    if packets[HEADER_SIZE] != QUERY or len(packets) >= MAX_PAYLOAD:
        return None
    return packets[HEADER_SIZE + 1 :]


def init_db(schema: bytes) -> bytes:
    """Give the packet of a COM_INIT_DB."""
    return frame(b"\x02" + schema)


def set_option(multi_statements: bool) -> bytes:
    """Give the packet of a COM_SET_OPTION that turns multi-statements on or off."""
    option = MULTI_STATEMENTS_ON if multi_statements else MULTI_STATEMENTS_OFF
    return frame(b"\x1b" + option.to_bytes(2, "little"))


PING_PACKET: Final = frame(b"\x0e")
QUIT_PACKET: Final = frame(b"\x01")
RESET_CONNECTION_PACKET: Final = frame(b"\x1f")
