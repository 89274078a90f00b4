"""What a statement changes before it fails is its own session's, though its error tells nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest
from pymysql.constants import CLIENT

from tests.integration.proxy import Proxy, one, refused, run, vanish

if TYPE_CHECKING:
    from tests.servers import DatabaseServer

FAILING = [
    "SELECT failing_function()",
    "INSERT INTO failing_table (id) VALUES (1)",
    "UPDATE failing_table SET value = failing_function()",
    "SELECT @@autocommit, failing_function()",
    "SET sql_select_limit = failing_function()",
]


@pytest.fixture(scope="module", autouse=True)
def routines(server: DatabaseServer) -> None:
    """A function and a trigger that set a variable of each kind, and fail or are followed by an error."""
    body = "SET @left_behind = 1; SET time_zone = '+02:00'"
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "DROP FUNCTION IF EXISTS app.failing_function",
        f"CREATE FUNCTION app.failing_function() RETURNS INT BEGIN {body}; SIGNAL SQLSTATE '45000'; RETURN 1; END",
        "DROP TABLE IF EXISTS app.failing_table",
        "CREATE TABLE app.failing_table (id INT PRIMARY KEY AUTO_INCREMENT, value INT)",
        "INSERT INTO app.failing_table VALUES (1, 1)",
        f"CREATE TRIGGER app.failing_trigger BEFORE INSERT ON app.failing_table FOR EACH ROW BEGIN {body}; END",
    )


@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("statement", FAILING)
def test_nobody_else_sees_it(proxy: Proxy, narrow: Proxy, statement: str, transaction: bool) -> None:
    look = "SELECT @@time_zone = '+02:00', @@sql_select_limit > 5"
    with proxy.connect() as session, proxy.connect() as other:
        if transaction:
            session.begin()
        with pytest.raises(pymysql.MySQLError):
            run(session, statement)
        for _ in range(2):
            with other.cursor() as cursor:
                cursor.execute(look)
                assert cursor.fetchall() == ((0, 1),)
            assert one(session, "SELECT @@time_zone") == "+02:00"
        session.rollback()
        assert one(session, "SELECT @@time_zone") == "+02:00"
    leaver = narrow.connect()
    if transaction:
        leaver.begin()
    with pytest.raises(pymysql.MySQLError):
        run(leaver, statement)
    if transaction:
        leaver.rollback()
    vanish(leaver)
    with narrow.connect() as later:
        assert one(later, "SELECT @@time_zone = '+02:00'") == 0
        assert one(later, "SELECT @left_behind") is None


def test_a_failing_procedure(narrow: Proxy) -> None:
    body = "SET time_zone = '+02:00'; SET autocommit = 0; SELECT bogus;"
    with narrow.connect() as session:
        run(session, "DROP PROCEDURE IF EXISTS failing_procedure")
        run(session, f"CREATE PROCEDURE failing_procedure() BEGIN {body} END")
    leaver = narrow.connect()
    with refused(1054):
        run(leaver, "CALL failing_procedure()")
    assert one(leaver, "SELECT CONCAT(@@time_zone, @@autocommit = 0)") == "+02:001"
    vanish(leaver)
    with narrow.connect() as later:
        assert one(later, "SELECT CONCAT(@@time_zone = '+02:00', @@autocommit = 0)") == "00"


def test_a_packet_that_fails_in_the_middle(proxy: Proxy) -> None:
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as session, proxy.connect() as other:
        with refused(1054), session.cursor() as cursor:
            cursor.execute("SET time_zone = '+02:00'; USE mysql; SELECT bogus; SET time_zone = '+03:00'")
            while cursor.nextset():
                pass
        for _ in range(2):
            assert one(other, "SELECT CONCAT(DATABASE(), @@time_zone = '+02:00')") == "app0"
            assert one(session, "SELECT CONCAT(DATABASE(), @@time_zone)") == "mysql+02:00"
