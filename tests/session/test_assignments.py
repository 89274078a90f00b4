"""What SETs assign, read from their text."""

from __future__ import annotations

import pytest

from rdsproxy.session.assignments import assigned
from rdsproxy.session.reading import Reading, Token

READING = Reading()
CHARACTER_SETS = "character_set_client character_set_connection character_set_results collation_connection"


def tokens(sql: str) -> list[Token]:
    found = READING.tokens(sql.encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SET a = 1", "a"),
        ("set Session `A`=1, LOCAL b := (1, 2), @@session.c = f(3, 4), @@LOCAL.d=@@e, @@f = 'x, g = 1'", "a b c d f"),
        ("SET a = 1; SET b = 2;", "a b"),
        ("SET @a = 1, @`b` := 2", ""),
        ("SET @a = @@b, c = @d", "c"),
        ("SET NAMES latin1 COLLATE latin1_bin, a = 1", CHARACTER_SETS + " a"),
        ("SET CHARACTER SET latin1", CHARACTER_SETS),
        ("SET charset DEFAULT", CHARACTER_SETS),
        ("SET collation_connection = latin1_bin", "collation_connection character_set_connection"),
        ("SET max_join_size = 5", "max_join_size sql_big_selects"),
        ("SET GLOBAL a = 1, SESSION b = 2, PERSIST c = 3, @@global.d = 4", "b"),
        ("SET /* a */ b = 1 -- c", "b"),
    ],
)
def test_names(sql: str, names: str) -> None:
    found = assigned(tokens(sql))
    assert found == frozenset(name.encode() for name in names.split())


@pytest.mark.parametrize(
    "sql",
    [
        "SET GLOBAL a = 1, b = 2",  # some servers take the scope for b too
        "SET TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION READ ONLY",
        "SET ROLE NONE",
        "SET a.b = 1",
        "SET STATEMENT a = 1 FOR SELECT 1",
        "SET a = 1; SELECT 1",
        "SET 1",
    ],
)
def test_what_cannot_be_told(sql: str) -> None:
    assert assigned(tokens(sql)) is None
