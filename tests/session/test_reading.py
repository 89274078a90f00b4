"""What of a statement is code, in each way that a server may read it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.session.reading import PAIRS, Reading
from rdsproxy.session.statements import Lexer, Trait
from tests.session.texts import Way, count_items, texts, ways

PLAIN = Reading()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"SELECT 'it''s', '', \"a\", `b`", b"SELECT '', '', \"\", `b`"),
        (b"SELECT `a b`, `c``d`", b"SELECT `?`, `?`"),
        (b"SELECT 1 -- x\n, 2 # y\n, /* z */ 3", b"SELECT 1  \n, 2  \n,   3"),
        (b"SELECT 2*/**/3", b"SELECT 2* 3"),
        (b"SELECT 5--1", b"SELECT 5--1"),
        (b"SELECT 5--", b"SELECT 5 "),
        (b"SELECT /*+ SET_VAR(sql_mode='*/') */ 1", b"SELECT  ') */ 1"),  # as servers do it
        (b"/*!50000 SELECT 'a;b' */ 1", b"\x01 SELECT '' \x02 1"),
        (b"/*! */ SELECT 1", b"  SELECT 1"),
        (b"SELECT 1 /*!99999 , 2 /* it's */ */", b"SELECT 1 \x01 , 2   \x02"),
        (b"SELECT 'a", b"SELECT 'a"),
        (b"", b""),
    ],
)
def test_code(text: bytes, code: bytes) -> None:
    found = PLAIN.code(text)
    assert found.text == code
    assert not found.doubtful
    assert found.executable == (b"/*!" in text)


@pytest.mark.parametrize(
    "text",
    [
        # Somebody's comment hides a quote, or the end of a comment is in a string.
        b"SELECT /*!99999 ' */ 1",
        b"SELECT /*!50000 '*/' */",
        b"SELECT /*!50000 '/*' */ 1",
        b"SELECT /*!50000 1 -- */\n */",
        b"SELECT /*M!100000 1 /* x */ */",
        b"SELECT /*!50000 /*!50000 1 */ */",
        b"/*!50000 SELECT 1; */ SELECT 2",
        b"SELECT /*!50000 1",
        # Strings of MySQL 9, names elsewhere.
        b"SELECT $$a$$",
        b"SELECT 1 $a$, 2",
        # A comment in some character sets.
        b"SELECT 5--\x7f\n",
        b"SELECT 5--\xa0\n",
        # What follows is read in another way.
        b"SET sql_mode = 'ANSI_QUOTES'; SELECT \"a\"",
        b"/*!50000 SET sql_mode = '' */; SELECT '\\a'",
        b"SET NAMES gbk; SELECT '\x95\\'",
        b"SET character_set_client = @x; SELECT '\xe9'",
        b"SET NAMES DEFAULT; SELECT '\xe9'",
    ],
)
def test_doubts(text: bytes) -> None:
    found = PLAIN.code(text)
    assert found.doubtful
    assert Lexer().traits(b"/* ; */ " + text) & Trait.ROUTINE
    assert PLAIN.tokens(text) is None


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT '$$a$$', a$b$c, '--\xa0', `$$`",
        b"SELECT 1 /* $$ /*!50000 ' */",
        b"SET sql_mode = ''; SELECT 'a'",
        b"SET NAMES utf8mb4; SELECT '\xc3\xa9'",
        b"SET NAMES gbk; SELECT 'a'",
        b"SELECT 'SET sql_mode'; SELECT \"a\"",
        b'SELECT @@sql_mode; SELECT "a"',
        b"/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SET @a = 1; END */;",
    ],
)
def test_no_doubts(text: bytes) -> None:
    assert not PLAIN.code(text).doubtful


def test_the_character_set_of_pairs_may_end() -> None:
    text = b"SET NAMES utf8mb4; SELECT '\xe8\xa1\xa8\\'"
    assert Reading(character_set=b"sjis").code(text).doubtful


@pytest.mark.parametrize("character_set", sorted(PAIRS))
def test_a_name_that_is_read_byte_by_byte(character_set: bytes) -> None:
    """In the name of a variable a backtick is no half of a character."""
    assert Reading(character_set=character_set).code(b"SELECT @\xa1`', `, 1").doubtful


@settings(deadline=None, max_examples=400)
@given(st.data(), ways)
def test_code_shows_and_nothing_else_does(data: st.DataObject, way: Way) -> None:
    text = data.draw(texts(way))
    told = Lexer(way.reading).traits(text.sql)
    assert told & text.traits == text.traits
    assert not told & ~text.traits & ~Trait.ASSIGNS
    assert count_items(way.reading.tokens(text.sql)) == text.items


GAPS = [b" ", b"\t", b"\n", b"\x0b", b"\xa0", b"\xff", b"/**/", b"/*'*/", b"#'\n", b"-- '\n", b"/*!*/", b"/*!50000 */",
        b"/*!99999 x*/", b"/*M!999999 x */", b"/*!99999 it's */", b"--\x7f'\n", b"/*!99999 /* ' */ ; */"]  # fmt: skip
STATEMENTS = {
    b"SET ROLE r": Trait.ROLE,
    b"SET @w=1, ROLE r": Trait.ROLE,
    b"BEGIN NOT ATOMIC END": Trait.ROUTINE,
    b"BEGIN CALL p(); END": Trait.ROUTINE,
    b"COMMIT WORK AND NO CHAIN RELEASE": Trait.DISCONNECTS,
    b"LOCK INSTANCE FOR BACKUP": Trait.LOCK,
    b"BACKUP STAGE START": Trait.LOCK,
    b"FLUSH TABLES t WITH READ LOCK": Trait.LOCK,
    b"SELECT NEXT VALUE FOR s": Trait.SEQUENCE,
    b"CREATE TEMPORARY TABLE a (b INT)": Trait.HOLDS,
    b"CREATE OR REPLACE TEMPORARY TABLE a (b INT)": Trait.HOLDS,
    b"DROP TEMPORARY TABLE a": Trait.HOLDS,
    b"SET STATEMENT a=1 FOR CALL p()": Trait.ROUTINE,
    b"SET @@sql_mode = 1": Trait.UNTRACKED_SET,
    b"SET SESSION profiling = 1": Trait.UNTRACKED_SET,
    b"XA START 0x61": Trait.XA,
    b"HANDLER t OPEN": Trait.HANDLER,
    b"KILL 5": Trait.KILL,
}


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(sorted(STATEMENTS)),
    st.lists(st.lists(st.sampled_from(GAPS), min_size=1, max_size=2), min_size=9, max_size=9),
    st.sampled_from((b"%s", b"/*! %s */", b"/*!50000 %s*/", b"/*M!100000 %s */")),
    st.sampled_from((b"%s", b"-- c\n%s", b"/*!99999 x */%s", b"%s # c", b"\xa0%s")),
)
def test_words_that_stand_apart(sql: bytes, gaps: list[list[bytes]], inner: bytes, outer: bytes) -> None:
    """Whatever is between them that some server passes over."""
    words = sql.split(b" ")
    text = words[0] + b"".join(b"".join(gap) + word for gap, word in zip(gaps, words[1:], strict=False))
    text = outer.replace(b"%s", inner.replace(b"%s", text))
    assert Lexer().traits(text) & (STATEMENTS[sql] | Trait.ROUTINE), text


@given(st.lists(st.sampled_from([*GAPS, b"/*!", b"*/", b"a", b"'", b";", b"\x01", b"\x02"])))
def test_the_sketch_has_all_words_of_the_code(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    sketch = PLAIN.sketch(text)
    if not any(sign in sketch for sign in (b"/*!", b"/*M!", b"$", b"--")):
        assert sketch.count(b"a") == PLAIN.code(text).text.count(b"a")


@pytest.mark.parametrize(
    "unit",
    [b"\\'", b"'", b"/*", b"/*!", b"/*!*/", b"/*!50000 a */", b"/*! ; */", b"/**/", b"`", b"$", b"$$", b"0", b"a.",
     b"--", b"\x01", b"SET STATEMENT a FOR ", b"SET sql_mode;", b"INTO @x,", b"@a:=(", b"CREATE "],
)  # fmt: skip
def test_long_texts_take_no_longer_than_their_length(unit: bytes) -> None:
    """Nothing is looked at again and again: without care some of these would never end."""
    for start in (b"", b"SELECT @a", b"SET @b;"):
        text = (start + unit * (30_000 // len(unit)))[:30_000]
        for watching in (False, True):
            Lexer(watching=watching).traits(text)
        Lexer().mentions(text)
        Lexer().deed(text, b"")
        PLAIN.tokens(text)
