"""Statements of clients that are not there themselves, in the order in which these send them. The argument says whose.

They are written down from what these clients are known to send, not recorded, on the table of the tests. A tuple
is a statement with its parameters, prepared by the server.
"""

from __future__ import annotations

import sys
from typing import Any

import mysql.connector

from tests.drivers.python.steps import CA, HOST, PASSWORD, PORT, SCHEMA, TABLE, USER, pause, show

PAUSE = "pause"
RESET = "reset"
PING = "ping"
Step = str | tuple[Any, ...]

# MySQL's Connector/J, under Hibernate and a pool of connections. Its name of the isolation is MySQL's alone.
CONNECTOR_J: list[Step] = [
    "/* mysql-connector-j */SELECT @@session.auto_increment_increment AS auto_increment_increment,"
    " @@character_set_client AS character_set_client, @@character_set_connection AS character_set_connection,"
    " @@character_set_results AS character_set_results, @@character_set_server AS character_set_server,"
    " @@collation_server AS collation_server, @@collation_connection AS collation_connection,"
    " @@init_connect AS init_connect, @@interactive_timeout AS interactive_timeout, @@license AS license,"
    " @@lower_case_table_names AS lower_case_table_names, @@max_allowed_packet AS max_allowed_packet,"
    " @@net_write_timeout AS net_write_timeout, @@performance_schema AS performance_schema, @@sql_mode AS sql_mode,"
    " @@system_time_zone AS system_time_zone, @@time_zone AS time_zone, @@wait_timeout AS wait_timeout",
    "SET NAMES utf8mb4",
    "SET character_set_results = NULL",
    "SET autocommit=1",
    "SET sql_mode='ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION'",
    PAUSE,
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    PAUSE,
    "SET autocommit=0",
    f"select row0_.id as id1_0_0_, row0_.text as text2_0_0_ from {TABLE} row0_ where row0_.id=1",
    f"insert into {TABLE} (number, text) values (1, 'ä€😀')",
    "SELECT LAST_INSERT_ID()",
    "commit",
    "SET autocommit=1",
    PAUSE,
    PING,
    "SET autocommit=0",
    (f"insert into {TABLE} (number, text) values (?, ?)", 2, "ä€😀"),
    (f"update {TABLE} set text=?, number=? where id=?", "changed", 3, 1),
    (f"select id, number, text from {TABLE} where number>? for update", 0),
    "rollback",
    "SET autocommit=1",
    PAUSE,
    "set session transaction read only",
    "SET autocommit=0",
    (f"select count(*) from {TABLE} where text=?", "ä€😀"),
    "commit",
    "SET autocommit=1",
    "set session transaction read write",
    PAUSE,
    (f"select id, number, text from {TABLE} order by id limit ?", 10),
]

# A text where a number is asked for: the driver reads its warning.
WARNINGS: list[Step] = [
    f"INSERT IGNORE INTO {TABLE} (number) VALUES ('7x')",
    "SHOW WARNINGS",
    PAUSE,
    f"SELECT COUNT(*) FROM {TABLE}",
    PAUSE,
    "SELECT 1",
]

# Prisma's engine: everything is prepared, transactions are not; its pool resets connections.
PRISMA: list[Step] = [
    "SELECT @@max_allowed_packet,@@wait_timeout",
    PAUSE,
    ("SELECT 1",),
    PAUSE,
    "BEGIN",
    (f"INSERT INTO `{SCHEMA}`.`{TABLE}` (`number`,`text`) VALUES (?,?)", 1, "ä€😀"),
    (
        f"SELECT `t`.`id`, `t`.`number`, `t`.`text` FROM `{TABLE}` AS `t` WHERE (`t`.`id` = ? AND 1=1) LIMIT ?",
        1,
        1,
    ),
    "COMMIT",
    PAUSE,
    (f"SELECT `t`.`id` FROM `{TABLE}` AS `t` WHERE `t`.`text` IN (?,?) ORDER BY `t`.`id` ASC", "ä€😀", "b"),
    PAUSE,
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN",
    (f"UPDATE `{SCHEMA}`.`{TABLE}` SET `number` = (`number` + ?) WHERE (`id` IN (?) AND 1=1)", 5, 1),
    "ROLLBACK",
    PAUSE,
    (
        f"SELECT COUNT(*), SUM(`number`) FROM (SELECT `number` FROM `{TABLE}` WHERE 1=1 LIMIT ? OFFSET ?) AS `sub`",
        100,
        0,
    ),
    RESET,
    PAUSE,
    (f"SELECT `number` FROM `{TABLE}` WHERE `id` = ?", 1),
]

# WordPress: counts the rows that a LIMIT has left out, with the next statement.
WORDPRESS: list[Step] = [
    "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_520_ci",
    "SELECT @@SESSION.sql_mode",
    "SET SESSION sql_mode='NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    f"INSERT INTO `{TABLE}` (`text`) VALUES ('first'), ('second'), ('third')",
    PAUSE,
    f"SELECT SQL_CALC_FOUND_ROWS {TABLE}.ID FROM {TABLE} WHERE 1=1 ORDER BY {TABLE}.id DESC LIMIT 0, 2",
    "SELECT FOUND_ROWS()",
    PAUSE,
    f"SHOW FULL COLUMNS FROM `{TABLE}`",
    f"INSERT INTO `{TABLE}` (`id`, `text`) VALUES (1, 'again') ON DUPLICATE KEY UPDATE `text` = VALUES(`text`)",
    PAUSE,
    f"SELECT id, text FROM {TABLE}",
]

SCRIPTS = {"connector-j": CONNECTOR_J, "warnings": WARNINGS, "prisma": PRISMA, "wordpress": WORDPRESS}

settings: dict[str, Any] = {"ssl_ca": CA, "ssl_verify_cert": True} if CA else {"ssl_disabled": True}
connection: Any = mysql.connector.connect(
    host=HOST,
    port=PORT,
    user=USER,
    password=PASSWORD,
    database=SCHEMA,
    autocommit=True,
    use_pure=True,
    use_unicode=True,
    **settings,
)


def run(step: Step) -> None:
    """Run a statement, and show what it gives."""
    sql, *values = (step,) if isinstance(step, str) else step
    with connection.cursor(prepared=not isinstance(step, str)) as cursor:
        cursor.execute(sql, tuple(values))
        show(cursor.fetchall() if cursor.description else [cursor.rowcount, cursor.lastrowid])


for step in SCRIPTS[sys.argv[1]]:
    if step == PAUSE:
        pause()
    elif step == RESET:
        connection.cmd_reset_connection()
    elif step == PING:
        connection.ping()
    else:
        run(step)
pause()
connection.close()
