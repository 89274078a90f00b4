"""The lexer: which statements have which traits, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdsproxy.session.reading import Reading
from rdsproxy.session.statements import Lexer, Lexers, Trait

NONE = Trait.NONE

TABLE = [
    # Ordinary statements, with the words of others inside.
    (b"SELECT c FROM users WHERE id=5", NONE),
    (b"SELECT a FROM t LIMIT 5 OFFSET 3 FOR UPDATE", NONE),
    (b"SELECT row_count, found_rows, handler, role FROM t", NONE),
    (b"INSERT INTO t (row_count) VALUES ('call')", NONE),
    (b"UPDATE t SET a=1 WHERE b IN (1,2)", NONE),
    (b"BEGIN", NONE),
    (b"COMMIT", NONE),
    (b"SHOW TABLES", NONE),
    (b"UNLOCK TABLES", Trait.UNLOCKS),
    (b"UNLOCK TABLES; LOCK TABLES t READ", NONE),
    (b"LOCK TABLES t READ", NONE),  # the trackers tell
    (b"SELECT json_extract(a, '$.b:c')", NONE),
    (b"CREATE USER 'a'@'b'", NONE),
    (b"CREATE PROCEDURE p() BEGIN CALL x(); END", NONE),
    (b"", NONE),
    # What applications send, with words that look like those of others.
    (b"SELECT a FROM t WHERE e = 'a@b.c' /*application:Shop,controller:posts;action:index*/", NONE),
    (b"SELECT a FROM t WHERE e = 'a@b.c' /*action='%2Fpolls',route='%5Epolls/%24',traceparent='00-5b-c5-01'*/", NONE),
    (b"/* user@host; CALL */ SELECT a FROM t;", NONE),
    (b"SELECT /*+ SET_VAR(sort_buffer_size=16M) INDEX(t@qb1 i) */ a FROM t", NONE),
    (b"INSERT INTO users (email, password) VALUES ('a@b.c', '$2y$10$abcdefgh')", NONE),
    (b"INSERT INTO users (email, password) VALUES ('a@b.c', 'pbkdf2_sha256$260000$salt$hash=')", NONE),
    (b"UPDATE users SET role = 'x', profiling = 1, identity = 2 WHERE email = 'a@b.c'", NONE),
    (b"SELECT show.errors, `show`.`profiles`, identity, next FROM show WHERE email = 'a@b.c';", NONE),
    (b"SELECT JSON_VALUE(doc, '$.a@b' RETURNING DECIMAL(4,2)) FROM t", NONE),
    (b"SELECT 1 AS `a@b;c`", NONE),
    (b"SELECT VERSION(), @@sql_mode, @@sql_auto_is_null", NONE),
    (b"SET NAMES utf8mb4, @@SESSION.sql_mode = CONCAT(@@sql_mode, ',ANSI'), @@SESSION.wait_timeout = 5", Trait.SETS),
    (b"START TRANSACTION; UPDATE t SET a = 'b'; COMMIT;", NONE),
    (b"BEGIN /*application='x'*/", NONE),
    (b"BEGIN WORK", NONE),
    (b"CREATE TABLE t (temporary INT, email TEXT COMMENT 'a@b') /*!50100 PARTITION BY HASH (id) */", NONE),
    (b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a` /*!40100 DEFAULT CHARACTER SET x */ /*!80016 E='N' */", NONE),
    (b"/*!50001 CREATE */ /*!50013 DEFINER=`a`@`b` SQL SECURITY DEFINER */ /*!50001 VIEW `v` AS select '@' */", NONE),
    (b"/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET NEW.b = 1; END */;", NONE),
    (b"/*!40101 SET NAMES utf8mb4 */;", Trait.SETS),
    (b"/*!40000 ALTER TABLE `t` DISABLE KEYS */", Trait.HOLDS),
    # User variables.
    (b"SELECT @a", Trait.USER_VARIABLE),
    (b"SELECT@a", Trait.USER_VARIABLE),
    (b"SELECT 3 INTO @z", Trait.USER_VARIABLE | Trait.ASSIGNS),
    (b"SELECT @`a b`:=1", Trait.USER_VARIABLE | Trait.ASSIGNS),
    (b"SELECT @@session.sql_mode", NONE),
    (b"SELECT EXTRACTVALUE(a, 'b[$@c]')", Trait.USER_VARIABLE),
    (b"GET DIAGNOSTICS CONDITION '1'@a=MYSQL_ERRNO", Trait.DIAGNOSTICS | Trait.USER_VARIABLE),
    # Locks.
    (b"SELECT GET_LOCK('a', 1)", Trait.LOCK),
    (b"do get_lock('a', 1)", Trait.LOCK),
    (b"SELECT `get_lock`('a', 1)", Trait.LOCK),
    (b"FLUSH TABLES WITH READ LOCK", Trait.LOCK),
    (b"FLUSH TABLES t FOR EXPORT", Trait.LOCK),
    (b"FLUSH STATUS", NONE),
    (b"LOCK INSTANCE FOR BACKUP", Trait.LOCK),
    (b"BACKUP STAGE START", Trait.LOCK),
    (b"DO RELEASE_LOCK('a')", Trait.RELEASES),
    (b"CREATE TEMPORARY TABLE a (b INT)", Trait.HOLDS),
    (b"SELECT 1; PREPARE s FROM 'SELECT 1'", Trait.HOLDS),
    # The trackers' own settings.
    (b"SELECT @@session_track_schema", Trait.TRACKERS),
    (b"SHOW VARIABLES LIKE 'session\\_track\\_%'", Trait.TRACKERS),
    (b"SET session_track_schema = 0", Trait.TRACKERS | Trait.SETS),
    # Routines, compound statements.
    (b"CALL p()", Trait.ROUTINE),
    (b"-- c\nCALL p()", Trait.ROUTINE),
    (b"/* c */ call p()", Trait.ROUTINE),
    (b"SELECT 1; CALL p()", Trait.ROUTINE),
    (b"EXECUTE s", Trait.ROUTINE),
    (b"BEGIN NOT ATOMIC SELECT 1; END", Trait.ROUTINE),
    (b"BEGIN SELECT 1; END", Trait.ROUTINE),  # of MariaDB in sql_mode ORACLE
    (b"DECLARE a INT; BEGIN SELECT 1; END", Trait.ROUTINE),
    (b"IF 1 THEN SELECT 1; END IF", Trait.ROUTINE),
    (b"\xa0CALL p()", Trait.ROUTINE),  # a space in latin1
    (b"l: LOOP LEAVE l; END LOOP", Trait.ROUTINE),
    (b"SET STATEMENT max_statement_time=1 FOR CALL p()", Trait.ROUTINE),
    # Others that belong to their connection.
    (b"HANDLER t OPEN", Trait.HANDLER | Trait.HOLDS),
    (b"XA START 'a'", Trait.XA),
    (b"SELECT NEXTVAL(s)", Trait.SEQUENCE),
    (b"SELECT NEXT VALUE FOR s", Trait.SEQUENCE),
    (b"SELECT LASTVAL(s)", Trait.SEQUENCE),
    # LAST_INSERT_ID().
    (b"SELECT LAST_INSERT_ID()", Trait.INSERT_ID),
    (b"SELECT @@identity", Trait.INSERT_ID),
    (b"INSERT INTO t VALUES (1) RETURNING id", Trait.INSERT_ID),
    (b"LOAD DATA LOCAL INFILE 'f' INTO TABLE t", Trait.INSERT_ID),
    # Diagnostics.
    (b"SHOW WARNINGS", Trait.DIAGNOSTICS),
    (b"SHOW COUNT(*) ERRORS", Trait.DIAGNOSTICS),
    (b"SELECT ROW_COUNT()", Trait.DIAGNOSTICS),
    (b"SELECT found_rows ()", Trait.DIAGNOSTICS),
    (b"SELECT @@warning_count", Trait.DIAGNOSTICS),
    (b"GET DIAGNOSTICS @n = NUMBER", Trait.DIAGNOSTICS | Trait.USER_VARIABLE | Trait.ASSIGNS),
    (b"UPDATE t SET a=1; SELECT ROW_COUNT()", NONE),  # about the same packet
    (b"SELECT SQL_CALC_FOUND_ROWS * FROM t", Trait.COUNTS_ROWS),
    # The end of the connection.
    (b"COMMIT RELEASE", Trait.DISCONNECTS),
    (b"rollback work and no chain release", Trait.DISCONNECTS),
    (b"COMMIT AND NO CHAIN NO RELEASE", NONE),
    (b"ROLLBACK TO release_point", NONE),
    (b"RELEASE SAVEPOINT a", NONE),
    # SET and USE.
    (b"SET NAMES utf8mb4", Trait.SETS),
    (b"SET autocommit=0;", Trait.SETS),
    (b"SET NAMES utf8; SET time_zone='a;b'", Trait.SETS),
    (b"SET NAMES utf8; SELECT 1", NONE),
    (b"SET @x=1, sql_mode=''", Trait.SETS | Trait.USER_VARIABLE | Trait.ASSIGNS),
    (b"SET STATEMENT max_statement_time=1 FOR SELECT 1", NONE),
    (b"SET ROLE r", Trait.SETS | Trait.ROLE),
    (b"SET @@sql_mode = 'x', ROLE 'r'", Trait.UNTRACKED_SET | Trait.SETS | Trait.ROLE),
    (b"SET time_zone = '+01:00', role r1", Trait.SETS | Trait.ROLE),
    (b"SET DEFAULT ROLE r TO u", Trait.SETS),
    (b"SET RESOURCE GROUP g", Trait.SETS | Trait.RESOURCE_GROUP),
    (b"SET NAMES utf8, ROLE r", Trait.SETS | Trait.ROLE),
    (b"SET/*!50000*/ROLE r", Trait.SETS | Trait.ROLE),
    (b"SET time_zone = f\xc3\xa9()", NONE),
    (b"/*!99999 UNLOCK TABLES */", NONE),
    (b"SET sql_mode = f()", NONE),
    (b"USE app", Trait.USES),
    (b"USE app; SELECT 1", NONE),
]


@pytest.mark.parametrize(("sql", "traits"), TABLE, ids=[sql.decode("latin-1") for sql, _ in TABLE])
def test_traits(sql: bytes, traits: Trait) -> None:
    assert Lexer().traits(sql) == traits


TRIGGERS = [b"GET_LOCK('a',1)", b"@a", b"LAST_INSERT_ID()", b"SQL_CALC_FOUND_ROWS 1", b"ROW_COUNT()"]
HIDING = [b"SELECT '%s'", b'SELECT "%s"', b"SELECT 1 /* %s */", b"SELECT 1 -- %s", b"SELECT 1 # %s"]
SHOWING = [b"SELECT %s", b"SELECT/*! %s*/", b"SELECT /*!50100 %s */", b"SELECT /*M! %s */", b"SELECT 'it''s', %s"]


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("hiding", HIDING)
def test_strings_and_comments_hide(trigger: bytes, hiding: bytes) -> None:
    sql = hiding.replace(b"%s", trigger.replace(b"'", b""))
    assert Lexer().traits(sql) == NONE


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("showing", SHOWING)
def test_code_shows(trigger: bytes, showing: bytes) -> None:
    assert Lexer().traits(showing.replace(b"%s", trigger)) != NONE


@pytest.mark.parametrize(
    ("sql", "nothing_else"),
    [
        (b"/*!40101 SET @saved_cs_client     = @@character_set_client */", True),
        (b"/*!40101 set @a = @@sql_mode, @b = 1 */;", True),
        (b"/*M!999999\\- enable the sandbox mode */ \n/*!40101 SET @a=@@sql_mode */", True),
        (b"/*M!999999 enable the sandbox mode */ \n\n/*!40101 SET @a=@@sql_mode */", True),
        (b"/*!40014 SET @a=@@unique_checks, unique_checks=0 */", False),
        (b"/*!40101 SET @a = f() */", False),
        (b"/*!40101 SET @a = 1 */ SELECT f()", False),
        (b"/*! SET @a = 1 */", False),
    ],
)
def test_a_set_in_an_executable_comment(sql: bytes, nothing_else: bool) -> None:
    """It may be one that this server does not run: then nothing was assigned."""
    found = Lexer().mentions(sql)
    assert found is not None
    assert (found.assigned, found.nothing_else) == (frozenset(), nothing_else)
    if nothing_else:
        assert Lexer().traits(sql) == Trait.SETS | Trait.USER_VARIABLE | Trait.ASSIGNS


def test_two_hyphens_before_a_digit_are_no_comment() -> None:
    assert Lexer().traits(b"SELECT 5--1, GET_LOCK('a',1)") == Trait.LOCK
    assert Lexer().traits(b"SELECT 5-- 1, GET_LOCK('a',1)") == NONE


def test_backslashes_end_strings_only_without_escapes() -> None:
    sql = rb"SELECT '\', @a, '"
    assert Lexer().traits(sql) == NONE
    assert Lexer(Reading(escapes=False)).traits(sql) == Trait.USER_VARIABLE


def test_double_quotes_are_names_under_ansi_quotes() -> None:
    assert Lexer().traits(b"SELECT \"get_lock\"('a',1)") == NONE
    assert Lexer(Reading(ansi_quotes=True)).traits(b"SELECT \"get_lock\"('a',1)") == Trait.LOCK


def test_the_second_byte_of_a_character_escapes_nothing() -> None:
    # 0x955C is one character of gbk.
    sql = b"SELECT '\x95\\', @a, '"
    assert Lexer(Reading(character_set=b"gbk")).traits(sql) == Trait.USER_VARIABLE
    assert Lexer(Reading(character_set=b"gbk")).traits(b"SELECT '\x95\\\\', @a, '") == NONE


def test_a_change_of_sql_mode_makes_the_rest_code() -> None:
    sql = b"SET sql_mode='ANSI_QUOTES'; SELECT \"'\", @a, \"'\""
    assert Lexer().traits(sql) & Trait.USER_VARIABLE


def test_dollar_quotes_are_code() -> None:
    assert Lexer().traits(b"SELECT $$ it's $$, @a, 'x'") & Trait.USER_VARIABLE


@given(st.lists(st.sampled_from([sql for sql, _ in TABLE] + [b"' ", b'"', b"/*", b"*/", b"\\", b"--", b"1", b"2"])))
def test_remembering_changes_nothing(pieces: list[bytes]) -> None:
    warm = Lexer()
    text = b""
    for piece in pieces:
        text += piece
        first = warm.traits(text)
        assert warm.traits(text) == first == Lexer().traits(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(sql: bytes) -> None:
    Lexer().traits(sql)
    Lexer(Reading(ansi_quotes=True, escapes=False)).traits(sql)


def test_a_lexer_for_each_way_of_reading() -> None:
    lexers = Lexers()
    plain = lexers.choose(b"STRICT_TRANS_TABLES", b"utf8mb4")
    assert lexers.choose(b"", b"latin1") is plain
    ansi = lexers.choose(b"REAL_AS_FLOAT,ANSI_QUOTES,ANSI", b"utf8mb4")
    assert ansi.traits(b'SELECT "get_lock"(1, 2)') == Trait.LOCK
    assert plain.traits(b'SELECT "get_lock"(1, 2)') == NONE
    assert lexers.choose(b"", b"GBK").traits(b"SELECT '\x95\\', @a, '") == Trait.USER_VARIABLE
    assert lexers.choose(b"NO_BACKSLASH_ESCAPES", b"utf8mb4").traits(rb"SELECT '\', @a, '") == Trait.USER_VARIABLE
