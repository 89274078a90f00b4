"""What a statement's text tells that no tracker of the server does.

A lexer, not a parser: it looks for the few words whose effect on the session the server keeps to itself
(docs/architecture.md lists them). The words are searched in the plain bytes first, since almost no statement has
any; only on a hit are strings and comments taken out and the rest searched again. In doubt a word counts as present:
the worst that follows is a pin.

Statements of one shape, which differ in letter case and digits only, are looked at once and remembered.
"""

from __future__ import annotations

import re
from enum import IntFlag
from typing import Final

from rdsproxy.session.functions import only_native
from rdsproxy.session.holdings import Deed, deed_of, odd_deed_of
from rdsproxy.session.user_variables import Mentions, mentions


class Trait(IntFlag):
    """What a statement does, or may do, to its session."""

    NONE = 0
    USER_VARIABLE = 1
    """Names a user variable, and so may read it."""
    LOCK = 2
    """Takes a lock that no tracker reports: GET_LOCK, FLUSH TABLES WITH READ LOCK, LOCK INSTANCE, BACKUP."""
    HANDLER = 4
    """HANDLER ... OPEN."""
    ROUTINE = 8
    """CALL, EXECUTE or a compound statement: may do anything."""
    UNTRACKED_SET = 16
    """SET PROFILING; SET @@name, which MariaDB does not report without a scope."""
    XA = 32
    """A distributed transaction."""
    SEQUENCE = 64
    """NEXTVAL and its kin: LASTVAL belongs to the connection."""
    INSERT_ID = 128
    """May read or set LAST_INSERT_ID(), where the reply does not tell: INSERT ... RETURNING is answered by rows."""
    DIAGNOSTICS = 256
    """Reads what the statement before it left behind: warnings, ROW_COUNT(), FOUND_ROWS()."""
    COUNTS_ROWS = 512
    """SQL_CALC_FOUND_ROWS: the statement after it reads FOUND_ROWS()."""
    SETS = 1024
    """Plain SETs and nothing else: the variables in their trackers are as they left them."""
    USES = 2048
    """One USE."""
    UNLOCKS = 4096
    """One UNLOCK TABLES."""
    ASSIGNS = 8192
    """May set user variables."""
    STORED = 16384
    """May run a stored function or a trigger. Told by lexers that are `watching` only."""
    CONNECTION_ID = 32768
    """Reads CONNECTION_ID() or @@pseudo_thread_id: the client knows itself by the proxy's id."""
    KILL = 65536
    """KILL, alone or before other statements."""
    HOLDS = 131072
    """May begin or end what `holdings` knows: temporary tables, prepared texts, handlers."""
    RELEASES = 262144
    """May release a lock of GET_LOCK's."""
    ROLE = 524288
    """SET ROLE, SET RESOURCE GROUP."""
    DISCONNECTS = 1048576
    """COMMIT RELEASE or ROLLBACK RELEASE: the server closes the connection behind its answer."""


ENDING: Final = Trait.UNLOCKS | Trait.HOLDS | Trait.LOCK | Trait.HANDLER
"""Those of statements that begin or end something, if they succeed."""

# A statement without traits begins with none of the first words, and has none of the second in it. Letter case has
# been folded.
# Comments before the first word are passed over; with a second statement, or an executable comment, all is looked at.
_OPENER: Final = re.compile(
    rb"(?:[\s(]|/\*(?!M?!).*?\*/|#[^\n]*|--(?=[\x00-\x20])[^\n]*)*"
    rb"(?:SET|USE|LOAD|ANALYZE|IF|CASE|LOOP|WHILE|REPEAT|FOR|CALL|EXECUTE|HANDLER|XA|BEGIN\s+NOT|FLUSH|LOCK|BACKUP"
    rb"|UNLOCK|SHOW|GET|KILL|CREATE|DROP|PREPARE|DEALLOCATE|ALTER|RENAME|\w+\s*:|/\*)",
    re.DOTALL,
)
_SUSPECTS: Final = (
    b"@",
    b";",
    b"/*!",
    b"/*M!",
    b"GET_LOCK",
    b"RELEASE",
    b"SERVICE_GET_",
    b"NEXT",
    b"PREVIOUS",
    b"LASTVAL",
    b"SETVAL",
    b"INSERT_ID",
    b"IDENTITY",
    b"RETURNING",
    b"ROW_COUNT",
    b"FOUND_ROWS",
    b"CONNECTION_ID",
)


def _patterns(start: bytes) -> tuple[tuple[Trait, re.Pattern[bytes]], ...]:
    """Give what each trait looks like, where a statement may begin behind `start`."""
    start += rb"\s*(?:\(\s*)*"
    # Also behind MariaDB's SET STATEMENT ... FOR.
    statement = b"(?:" + start + rb"|\bSET\s+STATEMENT\b.*\bFOR\s+)"
    return (
        # The @ of an account stands behind a quote; that of a variable may stand right behind a keyword.
        (Trait.USER_VARIABLE, re.compile(rb"(?<![@'`\"])@(?!@)")),
        (
            Trait.LOCK,
            re.compile(
                rb"\bGET_LOCK\b|\bSERVICE_GET_(?:READ|WRITE)_LOCKS\b|\bFLUSH\b.*\b(?:LOCK|EXPORT)\b|\bLOCK\s+INSTANCE\b"
                rb"|\bBACKUP\s+(?:STAGE|LOCK)\b",
                re.DOTALL,
            ),
        ),
        (Trait.HANDLER, re.compile(statement + rb"HANDLER\b")),
        (
            Trait.ROUTINE,
            re.compile(statement + rb"(?:(?:CALL|EXECUTE|BEGIN\s+NOT|IF|CASE|LOOP|WHILE|REPEAT|FOR)\b|\w+\s*:(?!=))"),
        ),
        (
            Trait.UNTRACKED_SET,
            re.compile(
                rb"\bPROFILING\b|\bSET\b.*@@(?!\s*(?:SESSION|LOCAL|GLOBAL|PERSIST|PERSIST_ONLY)\s*\.)[^\s=:,;]+\s*:?=",
                re.DOTALL,
            ),
        ),
        (
            Trait.DISCONNECTS,
            re.compile(start + rb"(?:COMMIT|ROLLBACK)\b(?:\s+WORK\b)?(?:\s+AND\s+(?:NO\s+)?CHAIN)?\s+RELEASE\b"),
        ),
        (Trait.ROLE, re.compile(rb"\bSET\s+(?:(?:SESSION|LOCAL)\s+)?(?:ROLE|RESOURCE)\b")),
        (
            Trait.HOLDS,
            re.compile(
                statement
                + rb"(?:CREATE\b[^;]*\bTEMPORARY|DROP\s+(?:TEMPORARY\s+)?TABLES?|(?:DROP\s+)?PREPARE|DEALLOCATE|HANDLER"
                rb"|ALTER|RENAME)\b"
            ),
        ),
        (Trait.RELEASES, re.compile(rb"\bRELEASE_(?:ALL_)?LOCKS?\b")),
        (Trait.XA, re.compile(start + rb"XA\b")),
        (Trait.SEQUENCE, re.compile(rb"\b(?:NEXTVAL|LASTVAL|SETVAL)\b|\b(?:NEXT|PREVIOUS)\s+VALUE\s+FOR\b")),
        (
            Trait.INSERT_ID,
            re.compile(rb"\bLAST_INSERT_ID\b|\bIDENTITY\b|\bRETURNING\b|" + statement + rb"(?:LOAD|ANALYZE)\b"),
        ),
        (
            Trait.DIAGNOSTICS,
            re.compile(
                rb"\bSHOW\b.*\b(?:WARNINGS|ERRORS|PROFILES?)\b|\bDIAGNOSTICS\b"
                rb"|\b(?:ROW_COUNT|FOUND_ROWS)[\s`\"]*\("
                rb"|@@[\s`]*(?:(?:SESSION|LOCAL)[\s`]*\.[\s`]*)?(?:WARNING|ERROR)_COUNT\b",
                re.DOTALL,
            ),
        ),
        (Trait.COUNTS_ROWS, re.compile(rb"\bSQL_CALC_FOUND_ROWS\b")),
        (Trait.SETS, re.compile(rb"^(?:\s*SET\b(?!\s+STATEMENT\b)[^;]*(?:;|$))+\s*$")),
        (Trait.UNLOCKS, re.compile(rb"^\s*UNLOCK\s+TABLES?\s*;?\s*$")),
        (Trait.USES, re.compile(rb"^\s*USE\b[^;]*;?\s*$")),
        (Trait.CONNECTION_ID, re.compile(rb"\bCONNECTION_ID[\s`\"]*\(|\bPSEUDO_THREAD_ID\b")),
        (Trait.KILL, re.compile(rb"^\s*KILL\b")),
    )


_TRAITS: Final = _patterns(rb"(?:^|;)")
_TRAITS_IN_DOUBT: Final = _patterns(rb"(?:^|;|\*/)")

# Each statement begins like one that sets a user variable in no other way than these two.
_ASSIGNMENT: Final = re.compile(rb":=|\bINTO\b[^\w;]*@")
_READERS: Final = re.compile(
    rb"(?:(?:^|;)[\s(]*(?:(?:SELECT|WITH|INSERT|REPLACE|UPDATE|DELETE|VALUES|DO|SHOW|DESC|DESCRIBE|EXPLAIN|CREATE|ALTER"
    rb"|DROP|TRUNCATE|RENAME)\b[^;]*)?)*"
)
# The @ in these stands in the name of an account.
_OF_ACCOUNTS: Final = re.compile(
    rb"\s*(?:GRANT|REVOKE|(?:CREATE|ALTER|DROP|RENAME)\s+USER|SHOW\s+GRANTS|SHOW\s+CREATE\s+USER)\b(?!.*(?:;|:=))",
    re.DOTALL,
)
# What fires no trigger, and calls no function unless it can be seen.
_UNSTORED: Final = re.compile(
    rb"[\s(]*(?:SELECT|SHOW|SET|USE|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|DO|DESC|DESCRIBE|VALUES)\b[^;]*;?\s*"
)

# What is not code, by how the server reads it: with or without backslash escapes (NO_BACKSLASH_ESCAPES), a double
# quote around a string or around an identifier (ANSI_QUOTES). A doubled quote reads as two strings side by side,
# which is the same to us. Quoted identifiers are kept, since `GET_LOCK`() works too; so are executable comments.
_COMMENT: Final = rb"/\*(?!M?!).*?\*/|#[^\n]*|--(?=[\x00-\x20]|\Z)[^\n]*"
_SINGLE: Final = {True: rb"'(?:[^'\\]|\\.)*'|", False: rb"'[^']*'|"}
_DOUBLE: Final = {True: rb'"(?:[^"\\]|\\.)*"|', False: rb'"[^"]*"|'}
_FIRST_STATEMENT: Final = re.compile(rb"((?:[^;`\"]|`[^`]*`|\"[^\"]*\")*)(?:;|\Z)")
_DEFINITION: Final = re.compile(
    rb"\s*(?:CREATE|ALTER)\b(?:(?!\bTABLE\b)[^;])*?\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|VIEW|PACKAGE)\b"
)
_OPENING: Final = re.compile(rb"/\*M?!0*")
# As in the files of mysqldump. It hides nothing; run or not, it sets what it names, or nothing at all.
_SET_IN_A_COMMENT: Final = re.compile(rb"\s*/\*M?!\d{5,6}(\s+SET\b[\w\s@=,.]*)\*/\s*;?\s*", re.IGNORECASE)
# How mariadb-dump's begin; no server runs it. The command line takes the backslash and the hyphen for a command of its.
_SANDBOX: Final = re.compile(rb"^/\*M!\d{6}(?:\\-)? enable the sandbox mode \*/", re.IGNORECASE)
# A comment for another version of the server may hide a quote; dollar quotes are MySQL's newest strings. Which servers
# read them so is not for the lexer to know. A statement that sets sql_mode changes how the ones behind it are read.
_DOUBTS: Final = re.compile(rb"/\*M?!|\$\w*\$|SQL_MODE.*;", re.DOTALL)
_HARMLESS: Final = Trait.SETS | Trait.USES

_BACKSLASH_IN_CHARACTERS: Final = frozenset((b"big5", b"cp932", b"gb18030", b"gbk", b"sjis"))

_FOLD: Final = bytes(
    ord("0") if chr(byte) in "123456789" else byte - 32 if chr(byte) in "abcdefghijklmnopqrstuvwxyz" else byte
    for byte in range(256)
)

_REMEMBERED: Final = 4096  # shapes
_REMEMBERED_SIZE: Final = 2048  # bytes of one shape


class Lexer:
    """Tells the traits of statements that are read in one way, and remembers shapes; serves any number of sessions.

    `plain`: the client's character set has characters whose second byte is a backslash (big5, cp932, gb18030, gbk,
    sjis), so that the end of a string cannot be found byte by byte: strings are then read as code as well.
    `watching`: the session has user variables, so that it matters what may change them without a word.
    """

    def __init__(
        self, *, ansi_quotes: bool = False, escapes: bool = True, plain: bool = False, watching: bool = False
    ) -> None:
        self._known: dict[bytes, Trait] = {}
        self.ansi_quotes = ansi_quotes
        self.escapes = escapes
        self._plain = plain
        self._watching = watching
        self._identifiers = b'`"' if ansi_quotes else b"`"
        self._not_code = re.compile(
            _SINGLE[escapes] + _DOUBLE[escapes and not ansi_quotes] + rb"`[^`]*`|" + _COMMENT, re.DOTALL
        )

    def traits(self, sql: bytes) -> Trait:
        """Give what `sql` does to its session."""
        shape = sql.translate(_FOLD)
        known = self._known.get(shape)
        if known is not None:
            return known
        traits = self._look(shape)
        if len(shape) <= _REMEMBERED_SIZE:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[shape] = traits
        return traits

    def mentions(self, sql: bytes) -> Mentions | None:
        """Give the user variables that `sql` names; None if there is one that the session cannot keep."""
        code = _OPENING.sub(b" ", self._not_code.sub(self._blank, sql))
        if not self._plain and not _DOUBTS.search(sql.translate(_FOLD)):
            return mentions(code)
        sure, doubtful = mentions(code, certain=False), mentions(sql, certain=False)
        if sure is None or doubtful is None:
            return None
        names = sure.names | doubtful.names
        wrapped = _SET_IN_A_COMMENT.fullmatch(_SANDBOX.sub(b"", sql))
        plain = mentions(wrapped[1]) if wrapped else None
        return Mentions(names, frozenset(), names, nothing_else=plain is not None and plain.nothing_else)

    def deed(self, sql: bytes, schema: bytes) -> Deed | None:
        """Give what `sql` begins or ends on its connection; None if that cannot be told."""
        if self._plain or _DOUBTS.search(sql.translate(_FOLD)):
            return odd_deed_of(sql)
        return deed_of(self._not_code.sub(self._blank, sql), sql, schema)

    def _look(self, shape: bytes) -> Trait:
        if self._watching:
            return self._look_at(shape) | self._stored(shape)
        return self._look_at(shape)

    def _stored(self, shape: bytes) -> Trait:
        code = _OPENING.sub(b" ", self._not_code.sub(self._blank, shape))
        if self._plain or _DOUBTS.search(shape) or not _UNSTORED.fullmatch(code) or not only_native(code):
            return Trait.STORED
        return Trait.NONE

    def _look_at(self, shape: bytes) -> Trait:
        if _OPENER.match(shape) is None and not any(word in shape for word in _SUSPECTS):
            return Trait.NONE
        shape = _SANDBOX.sub(b"", shape)
        code = _OPENING.sub(b" ", self._not_code.sub(self._blank, shape))
        traits = _search(_TRAITS, code, self._first_statement(code))
        if self._plain or _DOUBTS.search(shape):
            # Where strings and comments end cannot be told: all of it may be code.
            code = _OPENING.sub(b" ", shape)
            doubtful = _search(_TRAITS_IN_DOUBT, code, code, certain=False)
            traits = ((traits | doubtful) & ~_HARMLESS) | (traits & doubtful & _HARMLESS)
        return traits

    def _first_statement(self, code: bytes) -> bytes:
        """Give what may read the diagnostics of an earlier packet: the first statement, unless it is a definition."""
        if _DEFINITION.match(code):
            return b""
        found = _FIRST_STATEMENT.match(code)
        return found[1] if found else code

    def _blank(self, match: re.Match[bytes]) -> bytes:
        quote = match[0][:1]
        if quote in self._identifiers:
            return match[0]
        return quote * 2 if quote in b"'\"" else b" "


def _search(
    patterns: tuple[tuple[Trait, re.Pattern[bytes]], ...], code: bytes, first: bytes, *, certain: bool = True
) -> Trait:
    traits = Trait.NONE
    for trait, pattern in patterns:
        if pattern.search(first if trait is Trait.DIAGNOSTICS else code):
            traits |= trait
    if traits & Trait.SETS and (b"FROM" in code or not only_native(code)):
        # A function may set what the trackers do not tell.
        traits &= ~Trait.SETS
    if traits & Trait.USER_VARIABLE:
        if certain and _OF_ACCOUNTS.match(code):
            traits &= ~Trait.USER_VARIABLE
        elif not certain or _ASSIGNMENT.search(code) or not _READERS.fullmatch(code):
            traits |= Trait.ASSIGNS
    return traits


class Lexers:
    """One lexer for each way that statements are read."""

    def __init__(self) -> None:
        self._lexers: dict[tuple[bool, bool, bool, bool], Lexer] = {}

    def choose(self, sql_mode: bytes, character_set: bytes, *, watching: bool = False) -> Lexer:
        """Give the lexer for a session's `sql_mode` and `character_set_client`, for one with user variables if so."""
        modes = sql_mode.upper().split(b",")
        key = (
            b"ANSI_QUOTES" in modes,
            b"NO_BACKSLASH_ESCAPES" not in modes,
            character_set.lower() in _BACKSLASH_IN_CHARACTERS,
            watching,
        )
        lexer = self._lexers.get(key)
        if lexer is None:
            ansi_quotes, escapes, plain, _ = key
            lexer = Lexer(ansi_quotes=ansi_quotes, escapes=escapes, plain=plain, watching=watching)
            self._lexers[key] = lexer
        return lexer
