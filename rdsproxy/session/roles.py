"""The roles that a session has active (SET ROLE): asked for, and written down as SET ROLE takes them.

Source: CURRENT_ROLE() in the manuals. MariaDB gives one name as it is, or NULL. MySQL gives a list of accounts, quoted
as sql_mode and sql_quote_show_create say. Neither COM_RESET_CONNECTION nor, on MariaDB, COM_CHANGE_USER ends a role.
"""

from __future__ import annotations

import re
from typing import Final

from rdsproxy.protocol import commands

CURRENT: Final = b"CAST(CURRENT_ROLE() AS BINARY)"
"""The expression to ask for. As a binary string it comes in UTF-8, whatever the character set of results."""
ASK_ROLE: Final = commands.query(b"SELECT " + CURRENT + b" LIMIT 1")
NONE: Final = b"NONE"

_PART: Final = rb"(`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[\w$\x80-\xff]+)"
_ACCOUNT: Final = re.compile(_PART + b"@" + _PART)


def clause(value: bytes | None, *, many: bool) -> bytes | None:
    """Give what CURRENT_ROLE() gave as SET ROLE takes it, in UTF-8; None if that cannot be told.

    `many`: there may be several, as on MySQL.
    """
    if value is None:
        return NONE
    if not many:
        return _quoted(value)
    if value == NONE:
        return NONE
    accounts = []
    position = 0
    while found := _ACCOUNT.match(value, position):
        accounts.append(b"@".join(_quoted(_bare(part)) for part in found.groups()))
        position = found.end()
        if position == len(value):
            return b",".join(accounts)
        if value[position : position + 1] != b",":
            break
        position += 1
    return None


def _bare(part: bytes) -> bytes:
    quote = part[:1]
    return part[1:-1].replace(quote * 2, quote) if quote in b"`\"" else part


def _quoted(name: bytes) -> bytes:
    return b"`" + name.replace(b"`", b"``") + b"`"
