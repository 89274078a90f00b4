"""Sessions that take turns on one connection: each keeps its own state and sees nobody else's."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tests.integration.proxy import NATIVE, SHA2, Proxy, backend, connect, one, rows, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

# These differ from moment to moment, or from connection to connection, by themselves.
FLEETING = {
    "error_count",
    "identity",
    "insert_id",
    "last_insert_id",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "statement_id",
    "timestamp",
    "warning_count",
}

BOTH = [
    "SET NAMES latin1",
    "SET NAMES latin1 COLLATE latin1_german1_ci",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
    "SET NAMES 'cp1250'",
    "SET NAMES DEFAULT",
    "SET CHARACTER SET latin1",
    "SET CHARSET latin2",
    "SET CHARACTER SET DEFAULT",
    "SET character_set_results = NULL",
    "SET character_set_results = latin2",
    "SET character_set_client = latin1",
    "SET character_set_connection = ascii",
    "SET collation_connection = utf8mb4_bin",
    "SET collation_connection = latin2_general_ci, character_set_results = 'utf8mb4'",
    "SET character_set_filesystem = latin1",
    "SET sql_mode = ''",
    "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    "SET sql_mode = 'ANSI'",
    "SET @@session.sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')",
    "SET SESSION sql_mode = DEFAULT",
    "SET time_zone = '+05:30'",
    "SET LOCAL time_zone = '-08:00'",
    "SET autocommit = 0",
    "SET autocommit = OFF",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    "SET SESSION TRANSACTION READ ONLY",
    "SET sql_select_limit = 3",
    "SET sql_safe_updates = 1",
    "SET sql_auto_is_null = 1",
    "SET foreign_key_checks = 0, unique_checks = 0",
    "SET group_concat_max_len = 123456, div_precision_increment = 9",
    "SET lc_time_names = 'de_DE', lc_messages = 'de_DE'",
    "SET innodb_lock_wait_timeout = 7, lock_wait_timeout = 8, wait_timeout = 900, interactive_timeout = 901",
    "SET auto_increment_increment = 3, auto_increment_offset = 2",
    "SET optimizer_switch = 'index_merge=off'",
    "SET default_storage_engine = MEMORY",
    "SET SESSION default_week_format = 3",
    "SET @@local.sort_buffer_size = 65536, @@session.net_write_timeout = 123",
    "SET max_join_size = 1000, sql_big_selects = 1",
    "SET long_query_time = 1.25",
    "SET @@SESSION.`max_sort_length` = 2000",
    "SET completion_type = CHAIN",
    "SET tmp_table_size = 1048576, max_heap_table_size = 1048576",
    # Nothing changes.
    "SET GLOBAL sort_buffer_size = @@GLOBAL.sort_buffer_size",
    "SET time_zone = 'SYSTEM'",
]
MARIADB = [
    "SET max_statement_time = 1.5",
    "SET old_mode = ''",
    "SET sql_if_exists = 1, sql_quote_show_create = 0",
    "SET SQL_MODE = ORACLE",
    "SET default_tmp_storage_engine = Aria",
    "SET enforce_storage_engine = NULL",
    "SET eq_range_index_dive_limit = 17",
]
MYSQL = [
    "SET max_execution_time = 1500",
    "SET SESSION sql_require_primary_key = ON",
    "SET explain_format = 'JSON'",
    "SET default_collation_for_utf8mb4 = utf8mb4_general_ci",
    "SET cte_max_recursion_depth = 77",
    "SET windowing_use_high_precision = OFF",
    "SET resultset_metadata = 'FULL'",
    "SET sql_generate_invisible_primary_key = 1",
    "SET end_markers_in_json = 1, print_identified_with_as_hex = 1",
    "SET optimizer_trace = 'enabled=on'",
    "SET session_track_gtids = OWN_GTID",
]
def variables(connection: Connection) -> dict[str, str]:
    # Not SHOW: what a session hides of its own by a small sql_select_limit would be missing.
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION VARIABLES")
        found = cursor.fetchall()
    return {name: value for name, value in map(_text, found) if name not in FLEETING}


def _text(row: tuple[object, ...]) -> tuple[str, str]:
    # Under character_set_results = NULL PyMySQL gives bytes for some columns.
    name, value = (cell.decode() if isinstance(cell, bytes) else str(cell) for cell in row[:2])
    return name, value


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, str | None]:
    return {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_sessions_share_the_connection(narrow: Proxy) -> None:
    with narrow.connect() as first, narrow.connect(charset="latin1") as second, narrow.connect(database=None) as third:
        ids = {backend(session) for session in (first, second, third, first)}
        assert len(ids) == 1
        assert ids <= set(narrow.backends())
        assert len({session.thread_id() for session in (first, second, third)}) == 3


def test_settings_follow_their_sessions(narrow: Proxy, server: DatabaseServer) -> None:
    """Many sessions with different settings take turns; each is compared with a connection to the server itself."""
    statements = BOTH + (MARIADB if server.kind == "mariadb" else MYSQL)
    with narrow.connect() as other, ExitStack() as stack:
        baseline = variables(other)
        sessions = []
        for statement in statements:
            with connect(server.host, server.port, NATIVE, server.certificates) as judge:
                before = variables(judge)
                run(judge, statement)
                expected = changed(before, variables(judge))
            session = stack.enter_context(narrow.connect())
            run(session, statement)
            sessions.append((statement, session, expected))
        wrong = []
        for _ in range(2):
            for statement, session, expected in sessions:
                found = changed(baseline, variables(session))
                if found != expected:
                    wrong.append((statement, {"expected": expected, "found": found}))
            assert changed(baseline, variables(other)) == {}
    assert not wrong, "\n".join(map(str, wrong))
    with narrow.connect() as later:
        assert changed(baseline, variables(later)) == {}


def test_settings_add_up(narrow: Proxy, direct: Connection) -> None:
    statements = [
        "SET NAMES latin1",
        "SET time_zone = '+02:00'",
        "SET sql_mode = 'ANSI_QUOTES'",
        "SET collation_connection = latin1_bin",
        "SET character_set_results = utf8mb4",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES', time_zone = '+03:00'",
        "SET NAMES utf8mb4",
        "SET time_zone = DEFAULT",
    ]
    direct_before = variables(direct)
    with narrow.connect() as setter, narrow.connect() as other:
        setter_before = variables(setter)
        for statement in statements:
            run(direct, statement)
            run(setter, statement)
            run(other, "SET NAMES cp1251 COLLATE cp1251_bin, time_zone = '+09:00', sql_mode = 'ANSI'")
            assert changed(setter_before, variables(setter)) == changed(direct_before, variables(direct)), statement
            run(other, "SET NAMES utf8mb4, sql_mode = DEFAULT")


def test_every_variable_that_can_be_set(server: DatabaseServer, proxy: Proxy, direct: Connection) -> None:
    """Each session variable is set to another value, whatever it is, and is then found in its session alone."""
    # MariaDB calls the last two session variables, but they belong to a replication source.
    skipped = FLEETING | {"max_allowed_packet", "net_buffer_length", "default_master_connection"}
    skipped |= {"max_relay_log_size", "sql_slave_skip_counter"}
    tried: list[tuple[str, str, str, object]] = []
    for name, value in sorted(variables(direct).items()):
        if name in skipped or "." in name or name.startswith("session_track_"):
            continue
        read = f"SELECT @@SESSION.{name}"
        try:
            before = one(direct, read)
        except pymysql.MySQLError:
            continue  # a global variable
        for candidate in candidates(value):
            try:
                run(direct, f"SET SESSION {name} = {candidate}")
            except pymysql.MySQLError:
                continue
            after = one(direct, read)
            run(direct, f"SET SESSION {name} = DEFAULT")
            if before != after:
                tried.append((name, candidate, read, after))
                break
    assert len(tried) > 100
    wrong: list[tuple[object, ...]] = []
    with proxy.connect() as other:
        for name, candidate, read, after in tried:
            before = one(other, read)
            with proxy.connect() as setter:
                run(setter, f"SET SESSION {name} = {candidate}")
                for _ in range(2):
                    found = one(other, read), one(setter, read)
                    if found != (before, after):
                        wrong.append((name, candidate, (before, after), found))
            if one(other, read) != before:
                wrong.append((name, candidate, before, "left behind"))
    assert not wrong, "\n".join(map(str, wrong))


def candidates(value: str) -> list[str]:
    if value in ("ON", "OFF"):
        return ["OFF" if value == "ON" else "ON"]
    if value.lstrip("-").isdigit():
        number = int(value)
        return [str(number + 1), str(number * 2), str(number // 2), str(max(0, number - 1)), "1024", "1", "0"]
    return ["'+03:00'", "0.5", "''", "NULL", "1", "2", "'latin1'", "'latin1_bin'", "'MyISAM'", "'de_DE'"]


def test_use(narrow: Proxy, schema: str) -> None:
    with narrow.connect() as first, narrow.connect() as second, narrow.connect(database=None) as third:
        run(first, f"USE {schema}")
        for _ in range(2):
            assert one(second, "SELECT DATABASE()") == "app"
            assert one(first, "SELECT DATABASE()") == schema
            assert one(third, "SELECT DATABASE()") is None
        third.select_db(schema)
        assert one(second, "SELECT DATABASE()") == "app"
        assert one(third, "SELECT DATABASE()") == schema
        first.select_db("app")
        assert one(third, "SELECT DATABASE()") == schema
        assert one(first, "SELECT DATABASE()") == "app"


def test_no_schema_where_another_session_has_one(narrow: Proxy, table: str) -> None:
    with narrow.connect() as with_schema, narrow.connect(database=None) as without:
        run(with_schema, f"INSERT INTO {table} (value) VALUES (1)")
        with pytest.raises(pymysql.err.OperationalError, match="No database selected"):
            rows(without, f"SELECT * FROM {table}")
        assert one(with_schema, f"SELECT value FROM {table}") == 1
        with pytest.raises(pymysql.err.OperationalError, match="No database selected"):
            rows(without, f"SELECT * FROM {table}")


def test_an_unknown_schema_changes_nothing(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect(database=None) as other:
        for use in ("USE no_such_schema", "USE `no such; schema`"):
            with pytest.raises(pymysql.err.OperationalError) as caught:
                run(session, use)
            assert caught.value.args[0] == 1049
        with pytest.raises(pymysql.err.OperationalError) as caught:
            session.select_db("no_such_schema")
        assert caught.value.args[0] == 1049
        assert one(other, "SELECT DATABASE()") is None
        assert one(session, "SELECT DATABASE()") == "app"


def test_a_schema_with_an_odd_name(narrow: Proxy, server: DatabaseServer) -> None:
    name = "wunder`lich ä€ '\\"
    quoted = name.replace("`", "``")
    server.execute(f"CREATE DATABASE `{quoted}`")
    try:
        with narrow.connect(database=name) as first, narrow.connect(charset="latin1") as second:
            run(second, "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
            assert one(first, "SELECT DATABASE()") == name
            assert one(second, "SELECT DATABASE()") == "app"
            assert one(first, "SELECT DATABASE()") == name
    finally:
        server.execute(f"DROP DATABASE `{quoted}`")


def test_a_schema_that_was_dropped(narrow: Proxy, server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE short_lived")
    try:
        with narrow.connect(database="short_lived") as owner, narrow.connect() as other:
            assert one(owner, "SELECT DATABASE()") == "short_lived"
            run(owner, "DROP DATABASE short_lived")
            # MySQL and MariaDB leave the session without a schema.
            assert one(owner, "SELECT DATABASE()") is None
            assert one(other, "SELECT DATABASE()") == "app"
            assert one(owner, "SELECT DATABASE()") is None
    finally:
        server.execute("DROP DATABASE IF EXISTS short_lived")


def test_the_character_set_of_the_handshake(narrow: Proxy, server: DatabaseServer) -> None:
    sql = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"
    sessions = [("latin1", None), ("utf8mb4", None), ("cp1251", None), ("utf8mb4", "utf8mb4_bin"), ("latin2", None)]
    opened = []
    for charset, collation in sessions:
        settings: dict[str, Any] = {"charset": charset, "collation": collation, "use_unicode": True}
        straight = connect(server.host, server.port, NATIVE, server.certificates, **settings)
        opened.append((straight, narrow.connect(**settings)))
    for _ in range(2):
        for straight, session in opened:
            assert rows(session, sql) == rows(straight, sql)
    for pair in opened:
        for connection in pair:
            connection.close()


def test_text_in_the_session_s_character_set(narrow: Proxy, table: str) -> None:
    with narrow.connect(charset="latin1") as latin, narrow.connect(charset="cp1251") as cyrillic:
        run(latin, f"INSERT INTO {table} (text) VALUES ('grün')")
        run(cyrillic, f"INSERT INTO {table} (text) VALUES ('зелёный')")
        run(latin, f"INSERT INTO {table} (text) VALUES ('weiß')")
    with narrow.connect() as session:
        assert rows(session, f"SELECT text FROM {table} ORDER BY id") == [("grün",), ("зелёный",), ("weiß",)]


def test_users_do_not_share(narrow: Proxy) -> None:
    with narrow.connect(NATIVE) as first, narrow.connect(SHA2) as second:
        for _ in range(2):
            assert one(first, "SELECT CURRENT_USER()").startswith(NATIVE.name)
            assert one(second, "SELECT CURRENT_USER()").startswith(SHA2.name)


def test_found_rows_is_kept_apart(narrow: Proxy, table: str) -> None:
    flag = pymysql.constants.CLIENT.FOUND_ROWS
    with narrow.connect(client_flag=flag) as found, narrow.connect() as changed_only:
        run(found, f"INSERT INTO {table} (value) VALUES (1)")
        for _ in range(2):
            assert run(found, f"UPDATE {table} SET value = 1") == 1
            assert run(changed_only, f"UPDATE {table} SET value = 1") == 0


def test_init_query(server: DatabaseServer, folder: Path) -> None:
    settings = {"init_query": "SET time_zone = '+04:00'; SET @set_by_init = 1"}
    with (
        Proxy(server, folder, max_connections=1, proxy=settings) as proxy,
        proxy.connect() as first,
        proxy.connect() as second,
    ):
        assert one(first, "SELECT @@time_zone") == "+04:00"
        run(first, "SET time_zone = '+06:00'")
        assert one(second, "SELECT @@time_zone") == "+04:00"
        assert one(first, "SELECT @@time_zone") == "+06:00"
        run(first, "SET time_zone = DEFAULT")
        assert one(second, "SELECT @@time_zone") == "+04:00"
