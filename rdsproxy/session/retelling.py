"""Statements that read what the one before them has left, where that is not on their connection: told from memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rdsproxy.protocol.datatypes import lenenc_bytes
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.reply import FIRST, ClientForm, Reply
from rdsproxy.protocol.responses import Ok, build_ok
from rdsproxy.protocol.results import number
from rdsproxy.protocol.walk import LASTING
from rdsproxy.session.diagnostics import Diagnostics, Told, system_text
from rdsproxy.session.leaving import ITEMS, ROW_NUMBER
from rdsproxy.session.reading import Token
from rdsproxy.session.state import State
from rdsproxy.session.substitution import Value, call, substitute, texts, variable

SHOW: Final = "SHOW"
SHOW_COUNT: Final = "SHOW COUNT"
GET: Final = "GET"
OTHER: Final = ""

# Nothing else has the type, flags and length of ROW_COUNT() and of the two variables on both servers.
_ROW_COUNT: Final = b"CAST('%021d' AS SIGNED)"
_COUNT: Final = b"NULLIF(~~%d, ~0)"
_COUNTERS: Final = (b"@@session.warning_count", b"@@session.error_count")
# The column of SHOW COUNT(*): a BIGINT UNSIGNED of 21 digits.
_COUNT_COLUMN: Final = b"\x03def\0\0\0%b\0\x0c\x3f\0\x15\0\0\0\x08\xa0\0\0\0\0"
# What these define outlives the statement, and reads what it finds then.
_DEFINES: Final = re.compile(rb"\s*(?:/\*M?!\d*\s*)?(?:CREATE|ALTER)\b", re.IGNORECASE)
_COUNTS: Final = re.compile(rb"ROW_COUNT|FOUND_ROWS", re.IGNORECASE)
_NUMBER: Final = b"NUMBER"
_ROWS: Final = b"ROW_COUNT"


class GoneError(Exception):
    """What the statement reads is not known any more."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a statement, or the first one of several, reads of what the one before it has left."""

    sql: bytes
    tokens: Sequence[Token]
    """Those of the first statement."""
    certain: bool
    """All servers read it in this way. If not, the rest is the most that it may be."""
    alone: bool
    """There is no other."""
    kind: str
    errors: bool
    """SHOW ERRORS, SHOW COUNT(*) ERRORS."""
    limit: tuple[int, int] | None
    """The LIMIT of SHOW: how many rows are left out, how many shown. None: not known yet."""
    row_count: bool
    found_rows: bool
    warnings: bool

    @property
    def get(self) -> Get | None:
        """The GET DIAGNOSTICS; None for one of another form than those with values that the session has."""
        return _get(self.sql, self.tokens)


@dataclass(frozen=True, slots=True)
class Get:
    """GET DIAGNOSTICS: the number of the condition, as it is written, and the items by the variables that take them."""

    condition: bytes | None
    """None: of the statement."""
    items: list[tuple[bytes, bytes]]


def reading_of(sql: bytes | None, state: State) -> Reading:
    """Look at a statement that reads diagnostics; None: its text is not known."""
    found = None if sql is None else state.lexer.reading.tokens(sql)
    if sql is None or found is None or state.lexer.reading.code(sql).executable:
        found_rows = sql is None or b"FOUND_ROWS" in sql.upper()
        return Reading(sql or b"", (), False, False, OTHER, False, None, True, found_rows, True)
    end = next((place for place, token in enumerate(found) if token.text == b";" and not token.quoted), len(found))
    first = found[:end]
    words = texts(first, 0, len(first))
    kind, errors, limit = OTHER, False, None
    if words[:1] == [b"SHOW"] and words[1:2] in ([b"WARNINGS"], [b"ERRORS"]):
        kind, errors, limit = SHOW, words[1] == b"ERRORS", _limit(words[2:])
    elif words[:5] == [b"SHOW", b"COUNT", b"(", b"*", b")"] and words[5:] in ([b"WARNINGS"], [b"ERRORS"]):
        kind, errors = SHOW_COUNT, words[5] == b"ERRORS"
    elif words[:1] == [b"GET"]:
        kind = GET
    places = range(len(first))
    return Reading(
        sql,
        first,
        True,
        len(found) <= end + 1,
        kind,
        errors,
        limit,
        row_count=any(call(first, place, b"ROW_COUNT") for place in places),
        found_rows=any(call(first, place, b"FOUND_ROWS") for place in places),
        warnings=kind != OTHER or any(_counts(first, place) for place in places),
    )


def _limit(words: list[bytes]) -> tuple[int, int] | None:
    numbers = [int(word) for word in words if word.isdigit() and len(word) < 20]
    match [b"0" if word.isdigit() else word for word in words]:
        case []:
            return 0, 1 << 64
        case [b"LIMIT", b"0"]:
            return 0, numbers[0]
        case [b"LIMIT", b"0", b",", b"0"]:
            return numbers[0], numbers[1]
        case [b"LIMIT", b"0", b"OFFSET", b"0"]:
            return numbers[1], numbers[0]
    return None


def _counts(found: Sequence[Token], place: int) -> int:
    return variable(found, place, b"WARNING_COUNT") or variable(found, place, b"ERROR_COUNT")


# -- replies -----------------------------------------------------------------------------------------------------------


def shown(reading: Reading, diagnostics: Diagnostics, form: ClientForm, status: int, *, binary: bool) -> bytes | None:
    """Give the reply to a SHOW whose answer is known; None for any other statement.

    `status`: the session's flags. `binary`: to a COM_STMT_EXECUTE.
    """
    told = diagnostics.told
    if reading.kind == SHOW_COUNT and reading.alone and not binary:
        value = _count(diagnostics, errors=reading.errors)
        column = _COUNT_COLUMN % lenenc_bytes(_COUNTERS[reading.errors])
        return _reply([b"\x01", column], [lenenc_bytes(b"%d" % value)], form, status)
    if reading.kind != SHOW or told is None or not told.rows:
        return None
    if reading.limit is None or not reading.alone:
        raise GoneError
    places = told.errors if reading.errors else range(len(told.rows))
    first, count = reading.limit
    chosen = places[first : first + count]
    rows = [_binary(told, place) if binary else told.rows[place] for place in chosen]
    return _reply(told.head, rows, form, status)


def _binary(told: Told, place: int) -> bytes:
    level, code, message = told.values[place]
    digits = (code or b"").replace(b"\0", b"")
    return b"\0\0" + lenenc_bytes(level or b"") + number(digits).to_bytes(4, "little") + lenenc_bytes(message or b"")


def _reply(head: Sequence[bytes], rows: Sequence[bytes], form: ClientForm, status: int) -> bytes:
    end = build_ok(Ok(0, 0, status & LASTING, 0), header=0xFE)
    raw = b"".join(frame(payload, sequence & 0xFF) for sequence, payload in enumerate([*head, *rows, end], 1))
    reply = Reply()
    reply.status = status
    reply.begin(FIRST, form)
    return bytes(reply.feed(raw))


# -- statements --------------------------------------------------------------------------------------------------------


def retold(reading: Reading, diagnostics: Diagnostics, state: State, *, quoted: bool) -> bytes:
    """Give a statement that has the same answer on a connection where nothing is left but VEIL and FOUND_ROWS().

    `quoted`: the server takes `ROW_COUNT`() for ROW_COUNT(), as MariaDB does. Raises GoneError if there is none.
    """
    if not reading.certain:
        if not _DEFINES.match(reading.sql) and (
            not reading.sql or diagnostics.remarks or _COUNTS.search(reading.sql)
        ):
            raise GoneError
        return reading.sql
    if reading.kind == GET:
        return _retold_get(reading, diagnostics, state)
    if reading.kind == SHOW and diagnostics.told is not None and diagnostics.told.rows:
        raise GoneError
    if reading.kind == SHOW_COUNT:
        value = _COUNT % _count(diagnostics, errors=reading.errors)
        end = reading.tokens[-1].end
        return b"SELECT " + value + b" AS `" + _COUNTERS[reading.errors] + b"`" + reading.sql[end:]

    def find(found: Sequence[Token], place: int, sets: bool) -> Value | None:
        if (length := call(found, place, _ROWS)) and (quoted or not found[place].quoted):
            if diagnostics.row_count is None:
                raise GoneError
            return Value(length, _ROW_COUNT % max(diagnostics.row_count, -1))
        if length := variable(found, place, b"WARNING_COUNT"):
            return Value(length, _COUNT % _count(diagnostics, errors=False))
        if length := variable(found, place, b"ERROR_COUNT"):
            return Value(length, _COUNT % _count(diagnostics, errors=True))
        return None

    return substitute(reading.sql, reading.tokens, find)


def _count(diagnostics: Diagnostics, *, errors: bool) -> int:
    told = diagnostics.told
    if told is None:
        return 0
    if errors:
        return max(diagnostics.errors, len(told.errors))
    return max(diagnostics.warnings, len(told.rows))


def _get(sql: bytes, found: Sequence[Token]) -> Get | None:
    words = texts(found, 0, len(found))
    place = 1
    if words[place : place + 1] == [b"CURRENT"]:
        place += 1
    if words[place : place + 1] != [b"DIAGNOSTICS"]:
        return None
    place += 1
    condition = None
    if words[place : place + 1] == [b"CONDITION"]:
        start = place + 1
        place = start + (2 if words[start : start + 1] == [b"@"] else 1)
        if place > len(found):
            return None
        condition = sql[found[start].start : found[place - 1].end]
    items = []
    while place < len(found):
        start = place
        while place < len(found) and words[place] != b"=":
            place += 1
        if words[start] != b"@" or words[start + 1 : start + 2] == [b"@"] or place + 1 >= len(found):
            return None
        items.append((sql[found[start].start : found[place - 1].end], words[place + 1]))
        place += 2
        if place < len(found) and words[place] != b",":
            return None
        place += 1
    return Get(condition, items)


def _retold_get(reading: Reading, diagnostics: Diagnostics, state: State) -> bytes:
    told = diagnostics.told
    get = reading.get
    reads_rows = get is not None and get.condition is None and _ROWS in (item for _, item in get.items)
    if (told is None or not told.rows) and not reads_rows:
        return reading.sql  # as the server says it where there is no condition
    if get is None:
        raise GoneError
    known_items = (_NUMBER, _ROWS) if get.condition is None else (*ITEMS, ROW_NUMBER)
    if any(item not in known_items for _, item in get.items):
        return reading.sql  # a syntax error
    count = 0 if told is None else len(told.rows)
    if get.condition is None:
        values = {_NUMBER: b"CAST(%d AS UNSIGNED)" % count}
        if diagnostics.row_count is not None:
            values[_ROWS] = b"%d" % max(diagnostics.row_count, -1)
    else:
        assert told is not None
        place = _place(get.condition, state)
        if not 0 < place <= count:
            return reading.sql  # an error, and one more condition
        values = dict(told.conditions.get(place) or _known(told, place, diagnostics.err))
    try:
        parts = [target + b" = " + values[item] for target, item in get.items]
    except KeyError:
        raise GoneError from None
    end = reading.tokens[-1].end
    return b"SET " + b", ".join(parts) + reading.sql[end:]


def _place(condition: bytes, state: State) -> int:
    """Give the number of a condition; 0 if there is none of that number."""
    if condition[:1] == b"@":
        condition = state.user_variables.get(condition[1:].strip(b"`").lower(), b"")
        if condition == b"NULL":
            return 0
    digits = condition.strip(b"'\"")
    if not digits.isdigit() or len(digits) > 18:
        raise GoneError
    return int(digits)


def _known(told: Told, place: int, err: bytes) -> dict[bytes, bytes]:
    """Give what is known of a condition that nobody has asked for in time."""
    _, code, message = told.values[place - 1]
    if code is None or message is None or not (code.isdigit() and message.isascii() and b"?" not in message):
        # The message came in the character set of results, in which it may have lost characters.
        raise GoneError

    known = {b"MYSQL_ERRNO": b"CAST(%b AS UNSIGNED)" % code, b"MESSAGE_TEXT": system_text(message)}
    if err[1:3] == int(code).to_bytes(4, "little")[:2] and err[9:] == message:
        known[b"RETURNED_SQLSTATE"] = system_text(err[4:9])
    return known
