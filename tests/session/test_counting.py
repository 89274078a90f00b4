"""FOUND_ROWS() of real servers behind statements that are said to be counted: their rows, or what it was before."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pymysql
import pytest

from rdsproxy.session.reading import Reading
from rdsproxy.session.statements import UNCOUNTED, Lexer, Trait
from tests.servers import DatabaseServer

STATEMENTS = 1_500  # on each server

COUNTED = [
    b"SELECT 1",
    b"select a from t where b = 'UNION' /* LIMIT 1, 2 */ limit 3;",
    b"SELECT DISTINCT a FROM t GROUP BY b ORDER BY CONCAT(a, b)",
    b"SELECT FOUND_ROWS(), ROW_COUNT()",
    b"BEGIN",
    b"START TRANSACTION READ ONLY",
    b"COMMIT AND CHAIN",
    b"ROLLBACK TO SAVEPOINT a",
    b"SET autocommit = 0, sql_mode = ''",
    b"USE app",
]
NOT_COUNTED = [
    b"SELECT COUNT(*) FROM t",
    b"SELECT f(1)",
    b"SELECT MAX(a) FROM t",
    b"SELECT a FROM t LIMIT 1, 2",
    b"SELECT a FROM t LIMIT ?,?",
    b"SELECT a FROM t LIMIT 2 OFFSET 1",
    b"SELECT a FROM t OFFSET 1 ROW",
    b"SELECT 1 UNION SELECT 2",
    b"SELECT a FROM t WHERE b IN (SELECT 1)",
    b"SELECT a INTO OUTFILE 'x' FROM t",
    b"SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1",
    b"SELECT /*!50000 SQL_CALC_FOUND_ROWS */ a FROM t LIMIT 1",
    b"SELECT a FROM t GROUP BY a WITH ROLLUP",
    b"(SELECT 1)",
    b"WITH c AS (SELECT 1) SELECT * FROM c",
    b"SELECT 1; SELECT 2",
    b"SET @a = (SELECT 1)",
    b"SET @a = f()",
    b"SET STATEMENT sql_mode = '' FOR SELECT 1",
    b"INSERT INTO t VALUES (1)",
    b"UPDATE t SET a = 1",
    b"DO 1",
    b"SHOW TABLES",
    b"EXPLAIN SELECT 1",
    b"SELECT " + b"1, " * 2000 + b"1",
]

TABLES = ["t", "empty", "single", "parted", "isam", "outer_view", "union_view"]
COLUMNS = [
    "*", "a.id", "a.v", "DISTINCT a.v", "DISTINCT a.v % 2", "a.id + 0", "1", "SQL_BUFFER_RESULT a.id",
    "CONCAT(a.id, 'x')", "IF(a.v > 2, 1, 0)", "NOW()", "@x", "HIGH_PRIORITY a.id", "SQL_BIG_RESULT a.v", "NULL",
]  # fmt: skip
JOINS = [
    "", "", "", "JOIN single b ON a.id = b.id", "LEFT JOIN empty b ON a.id = b.id", ", single b",
    "STRAIGHT_JOIN isam b",
]  # fmt: skip
CONDITIONS = [
    "", "", "", "WHERE a.id = {n}", "WHERE a.id > {n}", "WHERE a.id IN ({n}, {m})", "WHERE a.v = {n}", "WHERE 1 = 0",
    "WHERE a.v BETWEEN {n} AND {m}", "WHERE a.id IS NULL", "WHERE NULL", "WHERE a.id = {n} AND a.id = {m}",
    "WHERE a.v < {n} OR a.id > {m}", "WHERE a.id = 99", "WHERE NOT a.id", "WHERE a.id NOT IN ({n})",
]  # fmt: skip
ORDERS = ["", "", "ORDER BY a.v", "ORDER BY a.id DESC", "ORDER BY a.v + 0", "ORDER BY NULL", "ORDER BY RAND()"]
LIMITS = ["", "", "LIMIT 0", "LIMIT 1", "LIMIT {n}", "LIMIT 9"]
OTHERS = ["BEGIN", "COMMIT", "SET @x = 1", "SET NAMES utf8mb4", "SAVEPOINT a", "START TRANSACTION READ ONLY", "USE app"]


def statement(chance: random.Random) -> str:
    """Give a statement that is counted."""
    if chance.random() < 0.1:
        return chance.choice(OTHERS)
    parts = [chance.choice(COLUMNS), "FROM", chance.choice(TABLES), "a"]
    parts += [chance.choice(JOINS), chance.choice(CONDITIONS)]
    if chance.random() < 0.15:
        parts[0] = "a.v"
        parts.append("GROUP BY a.v")
    parts += [chance.choice(ORDERS), chance.choice(LIMITS)]
    if chance.random() < 0.1:
        parts = [chance.choice(["1", "NULL", "@x, 2", "DATABASE()"]), chance.choice(["", "FROM DUAL WHERE 1 = 0"])]
    return " ".join(["SELECT", *filter(None, parts)]).format(n=chance.randrange(7), m=chance.randrange(7))


@pytest.fixture
def server(database: DatabaseServer) -> Iterator[DatabaseServer]:
    """Each server, with a schema of tables of all kinds."""
    database.execute(
        "CREATE DATABASE counted",
        *(
            f"CREATE TABLE counted.{name} (id INT PRIMARY KEY, v INT, KEY (v)) {more}"
            for name, more in [
                ("t", ""),
                ("empty", ""),
                ("single", ""),
                ("parted", "PARTITION BY HASH (id) PARTITIONS 3"),
                ("isam", "ENGINE = MyISAM"),
            ]
        ),
        "INSERT INTO counted.single VALUES (1, 1)",
        "INSERT INTO counted.t VALUES (1, 5), (2, 4), (3, 4), (4, 2), (5, 1)",
        "INSERT INTO counted.parted SELECT * FROM counted.t",
        "INSERT INTO counted.isam SELECT * FROM counted.t",
        "CREATE VIEW counted.outer_view AS SELECT t.id, t.v FROM counted.t LEFT JOIN counted.empty ON t.id = empty.id",
        "CREATE VIEW counted.union_view AS SELECT * FROM counted.t UNION ALL SELECT * FROM counted.single",
    )
    yield database
    database.execute("DROP DATABASE counted")


@pytest.mark.parametrize("sql", COUNTED)
def test_counted(sql: bytes) -> None:
    assert not Lexer().all_traits(sql) & UNCOUNTED


@pytest.mark.parametrize("sql", NOT_COUNTED)
def test_not_counted(sql: bytes) -> None:
    assert Lexer().all_traits(sql) & UNCOUNTED
    assert not Lexer().traits(sql) & UNCOUNTED


def test_where_the_end_of_a_string_cannot_be_told_nothing_is_counted() -> None:
    assert Lexer(Reading(character_set=b"gbk")).all_traits(b"SELECT 1") is UNCOUNTED
    assert Lexer().all_traits(b"SELECT 1") is Trait.NONE


def test_real_servers_count_as_they_are_said_to(server: DatabaseServer) -> None:
    chance = random.Random(7)
    lexer = Lexer()
    wrong = []
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("USE counted")
        cursor.execute("SET sql_mode = ''")
        for _ in range(STATEMENTS):
            sql = statement(chance).replace("USE app", "USE counted")
            assert not lexer.all_traits(sql.encode()) & UNCOUNTED, sql
            before = chance.randrange(1, 9)
            cursor.execute(" UNION ALL ".join(["SELECT 1"] * before))
            cursor.execute(f"SET sql_select_limit = {chance.choice(['DEFAULT', 'DEFAULT', '2'])}")
            try:
                rows = cursor.execute(sql) if sql.startswith("SELECT") else cursor.execute(sql) * 0 + before
            except pymysql.MySQLError:
                rows = before
            cursor.execute("SET sql_select_limit = DEFAULT")
            cursor.execute("SELECT FOUND_ROWS()")
            if cursor.fetchall() != ((rows,),):
                wrong.append(sql)
    assert wrong == []
