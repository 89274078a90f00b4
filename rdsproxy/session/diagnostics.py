"""Statements that read what the one before them left, on a connection where that is not: told again from memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.reply import FIRST, ClientForm, Reply
from rdsproxy.protocol.results import payloads_of

if TYPE_CHECKING:
    from rdsproxy.session.session import Session

_SHOW: Final = re.compile(
    rb"\s*SHOW\s+(WARNINGS|ERRORS)(?:\s+LIMIT\s+(?:(\d+)\s*,\s*)?(\d+))?\s*;?\s*", re.IGNORECASE
)
_SHOW_COUNT: Final = re.compile(rb"\s*SHOW\s+COUNT\s*\(\s*\*\s*\)\s+(WARNING|ERROR)S\s*;?\s*", re.IGNORECASE)
_VALUE: Final = (
    rb"(?<![\w@.`])(?:(ROW_COUNT|FOUND_ROWS)\s*\(\s*\)|@@(?:(?:SESSION|LOCAL)\s*\.\s*)?(WARNING_COUNT|ERROR_COUNT)\b)"
)
_VALUES: Final = re.compile(_VALUE, re.IGNORECASE)
_BARE_ITEM: Final = re.compile(rb"(?<=[,\s])" + _VALUE + rb"(?=\s*(?:,|;?\s*\Z))", re.IGNORECASE)
_SELECT: Final = re.compile(rb"\s*SELECT\b", re.IGNORECASE)
_NOT_PLAIN: Final = re.compile(rb"['\"`#;]|--|/\*")


class GoneError(Exception):
    """What the statement reads is not known any more."""


def shown(sql: bytes, session: Session, form: ClientForm) -> bytes | None:
    """Give the reply to a SHOW WARNINGS or SHOW ERRORS whose answer was captured; None for any other statement."""
    show = _SHOW.fullmatch(sql)
    if show is None or session.captured is None:
        return None
    kind, offset, limit = show.groups()
    payloads = list(payloads_of(session.captured.raw))
    head, rows, end = payloads[:4], payloads[4:-1], payloads[-1]
    if kind.upper() == b"ERRORS":
        rows = [row for row, values in zip(rows, session.captured.rows, strict=True) if values[0] == b"Error"]
    if limit is not None:
        first = int(offset or 0)
        rows = rows[first : first + int(limit)]
    raw = b"".join(frame(payload, sequence) for sequence, payload in enumerate([*head, *rows, end], 1))
    reply = Reply()
    reply.begin(FIRST, form)
    return bytes(reply.feed(raw))


def retold(sql: bytes, session: Session) -> bytes:
    """Give a statement with the same answer, for a connection on which nothing worth a remark has happened.

    Raises GoneError if there is none.
    """
    counted = _SHOW_COUNT.fullmatch(sql)
    if counted is not None:
        sql = b"SELECT @@session." + counted[1].lower() + b"_count"
    if not _VALUES.search(sql):
        if session.remarks:
            raise GoneError
        return sql
    if _NOT_PLAIN.search(sql.rstrip(b"; \n\t\r")):
        raise GoneError
    if _SELECT.match(sql):
        # A column is named as its expression is written.
        sql = _BARE_ITEM.sub(lambda found: _value(found, session) + b" AS `" + found[0] + b"`", sql)
        parts = re.split(rb"(`[^`]*`)", sql)
        parts[::2] = [_VALUES.sub(lambda found: _value(found, session), part) for part in parts[::2]]
        return b"".join(parts)
    return _VALUES.sub(lambda found: _value(found, session), sql)


def _value(found: re.Match[bytes], session: Session) -> bytes:
    name = (found[1] or found[2]).upper()
    if name == b"ROW_COUNT":
        value = session.row_count
    elif name == b"FOUND_ROWS":
        if session.found_rows is None:
            raise GoneError
        value = session.found_rows
    elif not session.remarks:
        value = 0
    elif session.captured is None:
        raise GoneError
    elif name == b"WARNING_COUNT":
        value = max(session.warnings, len(session.captured.rows))
    else:
        value = sum(row[0] == b"Error" for row in session.captured.rows)
    return b"CAST(%d AS SIGNED)" % value
