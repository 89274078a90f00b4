"""What a statement's text tells that no tracker of the server does.

A lexer, not a parser: it looks for the few words whose effect on the session the server keeps to itself
(docs/architecture.md lists them). The words are searched in the plain bytes first, since almost no statement has
any; only on a hit are strings and comments taken out (`reading`) and the rest searched again. In doubt a word counts as
present: the worst that follows is a pin.

Statements of one shape, which differ in letter case and digits only, are looked at once and remembered.
"""

from __future__ import annotations

import re
from enum import IntFlag
from typing import Final

from rdsproxy.session.counting import is_counted, may_be_counted
from rdsproxy.session.functions import only_native
from rdsproxy.session.harmless import cannot_commit, only_reads
from rdsproxy.session.holdings import Deed, deed_of, odd_deed_of
from rdsproxy.session.reading import GAP, PAIRS, Reading
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
    """CALL, EXECUTE, a compound statement, or a text that cannot be read for certain: may do anything."""
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
    """SET ROLE, which MySQL does not report."""
    DISCONNECTS = 1048576
    """COMMIT RELEASE or ROLLBACK RELEASE: the server closes the connection behind its answer."""
    TRACKERS = 2097152
    """Has the name of a variable that says what the trackers tell, perhaps in a string."""
    RESOURCE_GROUP = 4194304
    """SET RESOURCE GROUP, which is not reported."""
    UNCOUNTED = 8388608
    """FOUND_ROWS() behind it may be another number than that of its rows, or than before if it has none."""


UNCOUNTED: Final = Trait.UNCOUNTED
"""By itself this is the one object: a statement with no other trait is compared by identity."""
ENDING: Final = Trait.UNLOCKS | Trait.HOLDS | Trait.LOCK | Trait.HANDLER | Trait.XA
"""Those of statements that begin or end something, if they succeed."""

# A statement without traits begins with none of the first words, and has none of the second in it. Letter case has
# been folded.
# Comments before the first word are passed over; with a second statement, or an executable comment, all is looked at.
_OPENER: Final = re.compile(
    rb"(?:[\s\xa0\xff(]++|/\*(?!M?!)(?:[^*]++|\*(?!/))*+\*/|#[^\n]*+|--(?=[\x00-\x20\x7f-\xff])[^\n]*+)*+"
    rb"(?:SET|USE|LOAD|ANALYZE|IF|CASE|LOOP|WHILE|REPEAT|FOR|CALL|EXECUTE|HANDLER|XA|BEGIN\b\s*+[^\s;]|DECLARE|<<"
    rb"|FLUSH|LOCK|BACKUP|UNLOCK|SHOW|GET|KILL|CREATE|DROP|PREPARE|DEALLOCATE|ALTER|RENAME|\w+\s*:)"
)
_TRACKERS: Final = (b"SESSION_TRACK", b"SESSION\\_TRACK")
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
    *_TRACKERS,
)
# Nor these, once strings and comments are taken out: they matter by what is in those.
_ODDITIES: Final = (b"$", b"--", b"EXTRACTVALUE", b"UPDATEXML")


def _patterns() -> tuple[tuple[Trait, re.Pattern[bytes]], ...]:
    """Give what each trait looks like. A space stands for what else may be between two words, too: see `_spread`."""
    start = rb"(?:^|;)\s*(?:\(\s*)*"
    # Also behind MariaDB's SET STATEMENT ... FOR, where a few functions have a FOR too.
    statement = start + rb"(?:SET\s+STATEMENT\b(?:(?>(?:(?!\bFOR\b)[^;])*+\bFOR\b)){1,8}\s+)?"
    return (
        # The @ of an account stands behind a quote; that of a variable may stand right behind a keyword.
        (Trait.USER_VARIABLE, re.compile(rb"(?<![@'`\"])@(?!@)")),
        (
            Trait.LOCK,
            re.compile(
                rb"\bGET_LOCK\b|\bSERVICE_GET_(?:READ|WRITE)_LOCKS\b|\bLOCK\s+INSTANCE\b|\bBACKUP\s+(?:STAGE|LOCK)\b|"
                + statement
                + rb"FLUSH\b[^;]*\b(?:LOCK|EXPORT)\b"
            ),
        ),
        (Trait.HANDLER, re.compile(statement + rb"HANDLER\b")),
        (
            Trait.ROUTINE,
            re.compile(
                statement
                # In MariaDB's Oracle mode every BEGIN but BEGIN WORK is that of a block.
                # No server takes a label yet where this would have to be more than a space: in brackets.
                + rb"(?:(?:CALL|EXECUTE|IF|CASE|LOOP|WHILE|REPEAT|FOR|DECLARE)\b|BEGIN\b\s*(?!\s|WORK\b|;|\Z)|<<"
                rb"|\w+[\s]*+:(?!=))"
            ),
        ),
        (
            Trait.UNTRACKED_SET,
            re.compile(
                statement + rb"SET\b[^;]*(?:\bPROFILING\b"
                rb"|@@(?!\s*(?:SESSION|LOCAL|GLOBAL|PERSIST|PERSIST_ONLY)\s*\.)[^\s=:,;]+\s*:?=)"
            ),
        ),
        (
            Trait.DISCONNECTS,
            re.compile(start + rb"(?:COMMIT|ROLLBACK)\b(?:\s+WORK\b)?(?:\s+AND\s+(?:NO\s+)?CHAIN)?\s+RELEASE\b"),
        ),
        # MariaDB takes it among other settings.
        (
            Trait.ROLE,
            re.compile(statement + rb"SET\b(?:[^;]*,)?\s*(?:(?:SESSION|LOCAL)\s+)?ROLE\b(?!\s*:?=)"),
        ),
        (Trait.RESOURCE_GROUP, re.compile(statement + rb"SET\s+RESOURCE\b")),
        (
            Trait.HOLDS,
            re.compile(
                statement
                + rb"(?:CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY|DROP\s+(?:TEMPORARY\s+)?TABLES?|(?:DROP\s+)?PREPARE"
                rb"|DEALLOCATE|HANDLER|ALTER|RENAME)\b"
            ),
        ),
        (Trait.RELEASES, re.compile(rb"\bRELEASE_(?:ALL_)?LOCKS?\b")),
        (Trait.XA, re.compile(start + rb"XA\b")),
        (
            Trait.SEQUENCE,
            re.compile(
                rb"\b(?:NEXTVAL|LASTVAL|SETVAL)\b(?:\s|[`\"])*\(|\.(?:\s|[`\"])*NEXTVAL\b"
                rb"|\b(?:NEXT|PREVIOUS)\s+VALUE\s+FOR\b"
            ),
        ),
        (
            Trait.INSERT_ID,
            re.compile(
                rb"\bLAST_INSERT_ID\b|@@[\w\s`.]*\bIDENTITY\b|"
                + statement
                + rb"(?:(?:LOAD|ANALYZE)\b|SET\b[^;]*\bIDENTITY\b|(?:INSERT|REPLACE)\b[^;]*\bRETURNING\b)"
            ),
        ),
        (
            Trait.DIAGNOSTICS,
            re.compile(
                rb"\bSHOW\s+(?:COUNT\s*\(\s*\*\s*\)\s+)?(?:WARNINGS|ERRORS|PROFILES?)\b"
                rb"|\bGET\s+(?:(?:CURRENT|STACKED)\s+)?DIAGNOSTICS\b"
                rb"|\b(?:ROW_COUNT|FOUND_ROWS)(?:\s|[`\"])*\("
                rb"|@@(?:\s|`)*(?:(?:SESSION|LOCAL)(?:\s|`)*\.(?:\s|`)*)?(?:WARNING|ERROR)_COUNT\b"
            ),
        ),
        (Trait.COUNTS_ROWS, re.compile(rb"\bSQL_CALC_FOUND_ROWS\b")),
        (Trait.SETS, re.compile(rb"^(?:\s*SET\b(?!\s+STATEMENT\b)[^;]*(?:;|$))+\s*$")),
        (Trait.UNLOCKS, re.compile(rb"^\s*UNLOCK\s+TABLES?\s*;?\s*$")),
        (Trait.USES, re.compile(rb"^\s*USE\b[^;]*;?\s*$")),
        (Trait.CONNECTION_ID, re.compile(rb"\bCONNECTION_ID(?:\s|[`\"])*\(|\bPSEUDO_THREAD_ID\b")),
        (Trait.KILL, re.compile(rb"^\s*KILL\b")),
    )


_SPACE: Final = re.compile(rb"\\s(?![^\[]*\])")


def _spread(pattern: re.Pattern[bytes]) -> re.Pattern[bytes]:
    """Give a pattern with `GAP` for each space outside of brackets."""
    return re.compile(_SPACE.sub(lambda _: GAP, pattern.pattern), pattern.flags)


_TRAITS: Final = tuple((trait, _spread(pattern)) for trait, pattern in _patterns())
_ALL_OF_IT: Final = Trait.SETS | Trait.USES | Trait.UNLOCKS
"""That the statement does nothing else: not where it cannot be told what the server takes for code."""
# Each statement is one SET in an executable comment, as in dumps, or a plain SET: run or not, the settings are what it
# names.
_SETS_IN_COMMENTS: Final = re.compile(
    rb"(?:\s*(?:\x01\s*SET\b(?!\s+STATEMENT\b)[^;\x01\x02(]*\x02\s*|SET\b(?!\s+STATEMENT\b)[^;\x01]*)(?:;\s*|\Z))+"
)

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

_DEFINITION: Final = re.compile(
    rb"\s*(?:CREATE|ALTER)\b(?:(?!\bTABLE\b)[^;])*?\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|VIEW|PACKAGE)\b"
)
# As in the files of mysqldump. It hides nothing; run or not, it sets what it names, or nothing at all.
_SET_IN_A_COMMENT: Final = re.compile(rb"\s*/\*M?!\d{5,6}(\s+SET\b[\w\s@=,.]*)\*/\s*;?\s*", re.IGNORECASE)
# How mariadb-dump's begin; no server runs it. The command line takes the backslash and the hyphen for a command of its.
_SANDBOX: Final = re.compile(rb"^/\*M!\d{6}(?:\\-)? enable the sandbox mode \*/", re.IGNORECASE)
_XPATH: Final = re.compile(rb"\b(?:EXTRACTVALUE|UPDATEXML)\b", re.IGNORECASE)
_BEHIND_QUOTES: Final = re.compile(rb"['\"`]@")

_FOLD: Final = bytes(
    ord("0")
    if chr(byte) in "123456789"
    else byte - 32
    if chr(byte) in "abcdefghijklmnopqrstuvwxyz"
    else 3  # not what `reading` marks executable comments with
    if byte in (1, 2)
    else byte
    for byte in range(256)
)

_REMEMBERED: Final = 4096  # shapes
_REMEMBERED_SIZE: Final = 2048  # bytes of one shape


class Lexer:
    """Tells the traits of statements that are read in one way, and remembers shapes; serves any number of sessions.

    `watching`: the session has user variables, so that it matters what may change them without a word.
    """

    def __init__(self, reading: Reading | None = None, *, watching: bool = False) -> None:
        self._known: dict[bytes, Trait] = {}
        self.reading = reading or Reading()
        self._watching = watching

    def traits(self, sql: bytes) -> Trait:
        """Give what `sql` does to its session, UNCOUNTED aside."""
        return self.all_traits(sql) & ~UNCOUNTED

    def all_traits(self, sql: bytes) -> Trait:
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
        code = self.reading.code(sql)
        if _names_oddly(code.text, sql):
            return None
        if not code.executable and not code.doubtful:
            return mentions(code.text)
        found = mentions(code.text, certain=False)
        if found is None:
            return None
        wrapped = _SET_IN_A_COMMENT.fullmatch(_SANDBOX.sub(b"", sql))
        plain = mentions(wrapped[1]) if wrapped else None
        return found._replace(nothing_else=plain is not None and plain.nothing_else)

    def is_sure(self, sql: bytes) -> bool:
        """Tell that strings and comments in `sql` begin and end where it looks like it."""
        return self.code(sql) is not None

    def code(self, sql: bytes) -> bytes | None:
        """Give `sql` without strings and comments; None if it is not sure where they are."""
        if self.reading.pairs:
            return None
        code = self.reading.code(sql)
        return None if code.executable or code.doubtful else code.text

    def deed(self, sql: bytes, schema: bytes) -> Deed | None:
        """Give what `sql` begins or ends on its connection; None if that cannot be told."""
        code = self.reading.code(sql)
        if code.executable or code.doubtful:
            return odd_deed_of(code.text)
        return deed_of(code.text, self.reading.without_comments(sql), schema, self)

    def only_reads(self, sql: bytes) -> bool:
        """Tell for certain that `sql` changes nothing."""
        code = self.code(sql.translate(_FOLD))
        return code is not None and only_reads(code)

    def cannot_commit(self, sql: bytes) -> bool:
        """Tell for certain that `sql` leaves the transaction open that it runs in."""
        code = self.code(sql.translate(_FOLD))
        return code is not None and cannot_commit(code)

    def _look(self, shape: bytes) -> Trait:
        traits = self._look_at(shape)
        if self._watching:
            traits |= self._stored(shape)
        return traits if self._is_counted(shape) else traits | UNCOUNTED

    def _is_counted(self, shape: bytes) -> bool:
        if len(shape) > _REMEMBERED_SIZE or not may_be_counted(shape):
            return False
        code = self.code(shape)
        return code is not None and is_counted(code)

    def _stored(self, shape: bytes) -> Trait:
        code = self.reading.sketch(shape)
        if (
            not _UNSTORED.fullmatch(code)
            or not only_native(code)
            or any(sign in code for sign in (b"/*!", b"/*M!", *_ODDITIES))
            or (self.reading.pairs and not code.isascii())
        ):
            return Trait.STORED
        return Trait.NONE

    def _look_at(self, shape: bytes) -> Trait:
        if _OPENER.match(shape) is None and not any(word in shape for word in _SUSPECTS):
            return Trait.NONE
        sketch = self.reading.sketch(shape).rstrip(b"; \t\r\n")
        if _OPENER.match(sketch) is None and not any(word in sketch for word in (*_SUSPECTS, *_ODDITIES)):
            return Trait.NONE
        shape = _SANDBOX.sub(b"", shape)
        code = self.reading.code(shape)
        certain = not code.executable and not code.doubtful
        traits = _search(code.text, _first_statement(code.text) if certain else code.text, certain=certain)
        if _names_oddly(code.text, shape):
            traits |= Trait.USER_VARIABLE
        if any(word in shape for word in _TRACKERS):
            traits |= Trait.TRACKERS
        if code.doubtful:
            # Words may be apart that look as if they were not.
            return traits & ~_ALL_OF_IT | Trait.ROUTINE
        if code.executable:
            traits &= ~_ALL_OF_IT
            if _SETS_IN_COMMENTS.fullmatch(code.text) and _sets_only(code.text):
                traits |= Trait.SETS
        return traits


def _first_statement(code: bytes) -> bytes:
    """Give what may read the diagnostics of an earlier packet: the first statement, unless it is a definition."""
    if _DEFINITION.match(code):
        return b""
    return code.partition(b";")[0]


def _names_oddly(code: bytes, sql: bytes) -> bool:
    """Tell whether a user variable may be named in a string, or right behind the number of a condition in quotes."""
    return bool(
        (b"$" in sql and b"@" in sql and _XPATH.search(code))
        or (b"DIAGNOSTICS" in code.upper() and _BEHIND_QUOTES.search(code))
    )


def _sets_only(code: bytes) -> bool:
    """Tell whether SETs set no more than they name: a function may set what the trackers do not tell."""
    return b"FROM" not in code and only_native(code)


def _search(code: bytes, first: bytes, *, certain: bool) -> Trait:
    traits = Trait.NONE
    for trait, pattern in _TRAITS:
        if pattern.search(first if trait is Trait.DIAGNOSTICS else code):
            traits |= trait
    if traits & Trait.SETS and not _sets_only(code):
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
        self._lexers: dict[tuple[bool, bool, bytes, bool], Lexer] = {}

    def choose(self, sql_mode: bytes, character_set: bytes, *, watching: bool = False) -> Lexer:
        """Give the lexer for a session's `sql_mode` and `character_set_client`, for one with user variables if so."""
        modes = sql_mode.upper().split(b",")
        character_set = character_set.lower()
        key = (
            b"ANSI_QUOTES" in modes,
            b"NO_BACKSLASH_ESCAPES" not in modes,
            character_set if character_set in PAIRS else b"",
            watching,
        )
        lexer = self._lexers.get(key)
        if lexer is None:
            ansi_quotes, escapes, of_pairs, _ = key
            reading = Reading(ansi_quotes=ansi_quotes, escapes=escapes, character_set=of_pairs)
            lexer = self._lexers[key] = Lexer(reading, watching=watching)
        return lexer
