"""What a script finds in the database: two schemas with a table for each session, and what all share."""

from __future__ import annotations

from collections.abc import Iterable

from tests.servers import DatabaseServer

SCHEMAS = ("diff1", "diff2")
ROLES = ("diff_one", "`diff``two`")
"""The first one is active from the start: MariaDB's COM_CHANGE_USER goes back to that, but does not end one."""
SHARED = "diffs"
"""The schema of what all sessions read and none changes, but for a session's own row in `shared`."""


def build(server: DatabaseServer, user: str) -> None:
    """Make what is shared."""
    server.execute(
        *(f"DROP ROLE IF EXISTS {role}" for role in ROLES),
        *(f"CREATE ROLE {role}" for role in ROLES),
        *(f"GRANT {role} TO {user}" for role in ROLES),
        f"SET DEFAULT ROLE {ROLES[0]} {'FOR' if server.kind == 'mariadb' else 'TO'} {user}",
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


PROCEDURES = (
    "nothing() DO 1",
    "answers(x INT) BEGIN SELECT x; SELECT x + 1 AS y, DATABASE(); END",
    "gives(OUT x INT) SET x = 7",
    f"adds(n INT, x INT) UPDATE {SHARED}.shared SET value = value + x WHERE session = n",
    "begins() START TRANSACTION",
    "ends() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION ROLLBACK; COMMIT; END",
    "signals() SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as asked', MYSQL_ERRNO = 5000",
    "warns() SELECT CAST('1x' AS SIGNED)",
)
"""In each schema."""


def renew(server: DatabaseServer, sessions: Iterable[int]) -> None:
    """Make the world as it is when a script begins, for these sessions."""
    numbers = sorted(sessions)
    statements = [
        f"TRUNCATE TABLE {SHARED}.shared",
        f"INSERT INTO {SHARED}.shared VALUES " + ", ".join(f"({number}, 0)" for number in numbers),
    ]
    for position, schema in enumerate(SCHEMAS):
        statements += [f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema} CHARACTER SET utf8mb4"]
        statements += [f"CREATE PROCEDURE {schema}.{procedure}" for procedure in PROCEDURES]
        for number in numbers:
            table = f"{schema}.t{number}"
            statements += [
                f"CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE, s VARCHAR(8))",
                f"INSERT INTO {table} (v, s) VALUES ({position}1, 'a'), ({position}2, 'b'), ({position}3, NULL)",
            ]
    server.execute(*statements)


def remove(server: DatabaseServer, user: str) -> None:
    """Leave nothing: MariaDB warns at each login of a user whose default role is no more."""
    server.execute(*(f"DROP DATABASE IF EXISTS {schema}" for schema in (*SCHEMAS, SHARED)))
    server.execute(
        f"SET DEFAULT ROLE NONE {'FOR' if server.kind == 'mariadb' else 'TO'} {user}",
        *(f"DROP ROLE {role}" for role in ROLES),
    )
