"""What a script finds in the database: two schemas with a table for each session, and what all share."""

from __future__ import annotations

from collections.abc import Iterable

from tests.servers import DatabaseServer

SCHEMAS = ("diff1", "diff2")
SHARED = "diffs"
"""The schema of what all sessions read and none changes, but for a session's own row in `shared`."""


def build(server: DatabaseServer) -> None:
    """Make what is shared."""
    server.execute(
        f"DROP DATABASE IF EXISTS {SHARED}",
        f"CREATE DATABASE {SHARED} CHARACTER SET utf8mb4",
        f"CREATE TABLE {SHARED}.words (id INT PRIMARY KEY, word VARCHAR(20))",
        f"INSERT INTO {SHARED}.words VALUES (1, 'one'), (2, 'two'), (3, 'drei'), (4, 'vier'), (5, 'cinq')",
        f"CREATE TABLE {SHARED}.shared (session INT PRIMARY KEY, value INT)",
        f"CREATE PROCEDURE {SHARED}.sets_variable() SET @r = CONCAT(IFNULL(@r, ''), 'r')",
        f"CREATE PROCEDURE {SHARED}.sets_mode() SET SESSION sql_mode = 'ANSI_QUOTES'",
        f"CREATE PROCEDURE {SHARED}.answers(x INT) BEGIN SELECT x; SELECT x + 1 AS y, DATABASE(); END",
        f"CREATE PROCEDURE {SHARED}.gives(OUT x INT) SET x = 7",
        f"CREATE PROCEDURE {SHARED}.fails() SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as asked', MYSQL_ERRNO = 5000",
        f"CREATE PROCEDURE {SHARED}.warns() SELECT CAST('1x' AS SIGNED)",
        f"CREATE PROCEDURE {SHARED}.begins() START TRANSACTION",
        f"CREATE PROCEDURE {SHARED}.zones() SET time_zone = '+03:00'",
        f"CREATE FUNCTION {SHARED}.doubles(x INT) RETURNS INT DETERMINISTIC RETURN 2 * x",
        f"CREATE FUNCTION {SHARED}.remembers(x INT) RETURNS INT DETERMINISTIC BEGIN SET @f = x; RETURN x; END",
        f"CREATE FUNCTION {SHARED}.switches(x INT) RETURNS INT DETERMINISTIC"
        " BEGIN SET time_zone = '+05:00'; RETURN x; END",
    )


def renew(server: DatabaseServer, sessions: Iterable[int]) -> None:
    """Make the world as it is when a script begins, for these sessions."""
    numbers = sorted(sessions)
    statements = [
        f"TRUNCATE TABLE {SHARED}.shared",
        f"INSERT INTO {SHARED}.shared VALUES " + ", ".join(f"({number}, 0)" for number in numbers),
    ]
    for position, schema in enumerate(SCHEMAS):
        statements += [f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema} CHARACTER SET utf8mb4"]
        for number in numbers:
            table = f"{schema}.t{number}"
            statements += [
                f"CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE, s VARCHAR(8))",
                f"INSERT INTO {table} (v, s) VALUES ({position}1, 'a'), ({position}2, 'b'), ({position}3, NULL)",
            ]
    server.execute(*statements)


def remove(server: DatabaseServer) -> None:
    """Leave nothing."""
    server.execute(*(f"DROP DATABASE IF EXISTS {schema}" for schema in (*SCHEMAS, SHARED)))
