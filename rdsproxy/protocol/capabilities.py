"""Capability flags of the handshake and status flags of OK and EOF packets.

Plain integers rather than IntFlag: they are tested for every packet. Written out here, not taken from
pymysql.constants, which lacks the newer ones; a test compares those that both have.
Source: "Capability Flags" (group__group__cs__capabilities__flags) and SERVER_STATUS_flags_enum of the MySQL
internals manual; MariaDB agrees below bit 25. From bit 32 on they are MariaDB's own ("Connecting" of its manual).
"""

from __future__ import annotations

from typing import Final

CLIENT_LONG_PASSWORD: Final = 1
"""MariaDB calls it CLIENT_MYSQL: who leaves it out has capabilities of MariaDB's in the last 4 reserved bytes."""
CLIENT_FOUND_ROWS: Final = 1 << 1
CLIENT_LONG_FLAG: Final = 1 << 2
CLIENT_CONNECT_WITH_DB: Final = 1 << 3
CLIENT_NO_SCHEMA: Final = 1 << 4
CLIENT_COMPRESS: Final = 1 << 5
CLIENT_ODBC: Final = 1 << 6
CLIENT_LOCAL_FILES: Final = 1 << 7
CLIENT_IGNORE_SPACE: Final = 1 << 8
CLIENT_PROTOCOL_41: Final = 1 << 9
CLIENT_INTERACTIVE: Final = 1 << 10
CLIENT_SSL: Final = 1 << 11
CLIENT_IGNORE_SIGPIPE: Final = 1 << 12
CLIENT_TRANSACTIONS: Final = 1 << 13
CLIENT_SECURE_CONNECTION: Final = 1 << 15
CLIENT_MULTI_STATEMENTS: Final = 1 << 16
CLIENT_MULTI_RESULTS: Final = 1 << 17
CLIENT_PS_MULTI_RESULTS: Final = 1 << 18
CLIENT_PLUGIN_AUTH: Final = 1 << 19
CLIENT_CONNECT_ATTRS: Final = 1 << 20
CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA: Final = 1 << 21
CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS: Final = 1 << 22
CLIENT_SESSION_TRACK: Final = 1 << 23
CLIENT_DEPRECATE_EOF: Final = 1 << 24
CLIENT_OPTIONAL_RESULTSET_METADATA: Final = 1 << 25
CLIENT_ZSTD_COMPRESSION_ALGORITHM: Final = 1 << 26
CLIENT_QUERY_ATTRIBUTES: Final = 1 << 27
CLIENT_MULTI_FACTOR_AUTHENTICATION: Final = 1 << 28
MARIADB_CLIENT_STMT_BULK_OPERATIONS: Final = 1 << 34

SERVER_STATUS_IN_TRANS: Final = 1
SERVER_STATUS_AUTOCOMMIT: Final = 1 << 1
SERVER_MORE_RESULTS_EXISTS: Final = 1 << 3
SERVER_QUERY_NO_GOOD_INDEX_USED: Final = 1 << 4
SERVER_QUERY_NO_INDEX_USED: Final = 1 << 5
SERVER_STATUS_CURSOR_EXISTS: Final = 1 << 6
SERVER_STATUS_LAST_ROW_SENT: Final = 1 << 7
SERVER_STATUS_DB_DROPPED: Final = 1 << 8
SERVER_STATUS_NO_BACKSLASH_ESCAPES: Final = 1 << 9
SERVER_STATUS_METADATA_CHANGED: Final = 1 << 10
SERVER_QUERY_WAS_SLOW: Final = 1 << 11
SERVER_PS_OUT_PARAMS: Final = 1 << 12
SERVER_STATUS_IN_TRANS_READONLY: Final = 1 << 13
SERVER_SESSION_STATE_CHANGED: Final = 1 << 14
SERVER_STATUS_ANSI_QUOTES: Final = 1 << 15
"""MariaDB's own."""


def fitted(capabilities: int, server: int) -> int:
    """Add to `capabilities` those that not every server has, as far as they are in `server`, what its greeting says.

    Of MariaDB's own the proxy knows one; docs/architecture.md says why not the others.
    """
    capabilities |= server & CLIENT_QUERY_ATTRIBUTES
    if server & CLIENT_LONG_PASSWORD:
        return capabilities
    return capabilities & ~CLIENT_LONG_PASSWORD | server & MARIADB_CLIENT_STMT_BULK_OPERATIONS
