"""What the trackers of real servers teach a session, statement by statement."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rdsproxy.protocol.responses import parse_err, parse_ok
from rdsproxy.protocol.results import Result
from rdsproxy.session.pinning import PinReason
from rdsproxy.session.questions import PROBES, questions_of
from rdsproxy.session.session import IN_TRANSACTION, Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers, Trait
from tests.integration.packets import DEPRECATE_EOF, SESSION_TRACK, Packets
from tests.integration.proxy import Account
from tests.servers import DatabaseServer

NONE = PinReason.NONE


class Watched:
    """A connection straight to a server, and a session that learns from it."""

    def __init__(self, server: DatabaseServer, account: Account) -> None:
        self.packets = Packets(
            server.host, server.port, account, flags=SESSION_TRACK | DEPRECATE_EOF, database="app"
        )
        names = "*"
        if server.kind == "mysql":
            # '*' is not for MySQL: it has a variable that changes with each statement.
            names = (
                "autocommit,character_set_client,character_set_connection,character_set_results,collation_connection,"
                "sql_mode,timestamp,time_zone,last_insert_id,sort_buffer_size,session_track_schema,"
                "session_track_system_variables,session_track_state_change,session_track_transaction_info"
            )
        self.packets.query(
            f"SET session_track_system_variables='{names}', session_track_schema=1, session_track_state_change=1, "
            "session_track_transaction_info='CHARACTERISTICS'"
        )
        states = States({}, {}, Lexers(), quiet_errors=server.kind == "mariadb")
        self.session = Session(states, states.intern(b"app", True, {}))

    def run(self, sql: str) -> Session:
        """Run one statement; the session learns from its reply."""
        session = self.session
        traits = session.state.lexer.traits(sql.encode())
        session.foresee(traits, sql.encode())
        session.sent(traits)
        payloads = self.packets.query(sql)
        self._learn(payloads[-1], traits, alone=len(payloads) == 1)
        return session

    def probe(self) -> Session:
        """Ask as the proxy does behind an error."""
        session = self.session
        session.unprobed = True
        ((packet, answered),) = questions_of(session)
        assert packet in PROBES
        self.packets.socket.sendall(packet)
        ok = parse_ok(self.packets.reply()[-1])
        answered(Result(status=ok.status, changes=[ok.changes] if ok.changes else []))
        assert not session.unprobed
        return session

    def _learn(self, last: bytes, traits: Trait, alone: bool) -> None:
        if last[0] == 0xFF:
            parse_err(last)
            return
        ok = parse_ok(last)
        self.session.learn(ok.status, [ok.changes] if ok.changes else None, traits, alone)


@pytest.fixture
def watched(database: DatabaseServer) -> Iterator[Watched]:
    """A connection to each server, with a table and procedures."""
    account = Account("watched", "Watched-Password-6", "MYSQL_NATIVE_PASSWORD")
    database.create_user(account.name, account.password)
    database.execute(
        "CREATE TABLE IF NOT EXISTS app.watched (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
        "DROP PROCEDURE IF EXISTS app.harmful",
        "DROP PROCEDURE IF EXISTS app.fails",
        "DROP FUNCTION IF EXISTS app.fails_with_variable",
        "CREATE PROCEDURE app.fails() BEGIN SET time_zone='+02:00'; SIGNAL SQLSTATE '45000'; END",
        "CREATE FUNCTION app.fails_with_variable() RETURNS INT NO SQL"
        " BEGIN SET @watched = 1; SIGNAL SQLSTATE '45000'; RETURN 1; END",
        "CREATE PROCEDURE app.harmful() SET @watched = 1",
    )
    watched = Watched(database, account)
    yield watched
    watched.packets.close()


SETS = [
    ("SET autocommit=0", {b"autocommit": b"OFF"}),
    ("SET sql_mode='ANSI_QUOTES'", {b"sql_mode": b"ANSI_QUOTES"}),
    ("SET time_zone='+01:00', autocommit=0", {b"time_zone": b"+01:00", b"autocommit": b"OFF"}),
    ("SET character_set_results=NULL", {b"character_set_results": b""}),
]


@pytest.mark.parametrize(("sql", "variables"), SETS)
def test_a_set_is_learned_and_pins_nothing(watched: Watched, sql: str, variables: dict[bytes, bytes]) -> None:
    session = watched.run(sql)
    assert variables.items() <= session.state.variables.items()
    assert session.pins == NONE
    assert session.doubtful == set()


@pytest.mark.parametrize("sql", ["SET NAMES latin1", "SET NAMES latin1 COLLATE latin1_bin"])
def test_set_names_leaves_the_collation_in_doubt(watched: Watched, sql: str) -> None:
    session = watched.run(sql)
    assert session.state.variables[b"character_set_client"] == b"latin1"
    assert session.doubtful == {b"collation_connection"}
    assert session.pins == NONE


def test_use_is_learned(watched: Watched) -> None:
    session = watched.run("USE app")
    assert (session.state.schema, session.pins) == (b"app", NONE)


@pytest.mark.parametrize(
    ("sql", "pins"),
    [
        ("SET @é=1", PinReason.USER_VARIABLE),
        ("CREATE TEMPORARY TABLE w (a INT)", PinReason.TEMPORARY_TABLE),
        ("CREATE TEMPORARY TABLE w SELECT 1 AS a", PinReason.TEMPORARY_TABLE),
        ("PREPARE p FROM 'SELECT 1'", PinReason.PREPARED_TEXT),
        ("CALL app.harmful()", PinReason.ROUTINE),
        ("SELECT GET_LOCK('watched', 0)", PinReason.USER_LOCK),
        ("SELECT 1, GET_LOCK('watched', 0)", PinReason.LOCK),
        ("SET timestamp=1234567890", PinReason.VOLATILE_VARIABLE),
        ("SET timestamp=DEFAULT", PinReason.VOLATILE_VARIABLE),  # reported with the value of before
        ("SET session_track_schema=0", PinReason.TRACKERS_OFF),
    ],
)
def test_what_pins(watched: Watched, sql: str, pins: PinReason) -> None:
    session = watched.run(sql)
    assert session.pins & pins == pins
    assert session.holds


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT a FROM watched", "INSERT INTO watched (a) VALUES (1)", "COMMIT"])
def test_what_does_not(watched: Watched, sql: str) -> None:
    session = watched.run(sql)
    assert (session.pins, session.holds) == (NONE, False)


def test_a_transaction(watched: Watched) -> None:
    assert watched.run("BEGIN").holds
    assert watched.run("SELECT a FROM watched").holds
    session = watched.run("ROLLBACK")
    assert (session.pins, session.holds) == (NONE, False)


def test_a_transaction_without_autocommit_begins_with_the_first_table(watched: Watched) -> None:
    watched.run("SET autocommit=0")
    assert not watched.run("SELECT 1").holds
    session = watched.run("SELECT a FROM watched")
    assert session.status & IN_TRANSACTION
    assert not watched.run("COMMIT").holds


def test_characteristics_of_the_next_transaction(watched: Watched) -> None:
    session = watched.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert session.state.transaction == b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;"
    assert (session.pins, session.holds) == (NONE, False)
    session = watched.run("SET TRANSACTION READ ONLY")
    assert session.state.transaction == (
        b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY;"
    )
    session = watched.run("BEGIN")
    assert session.state.transaction == b""
    assert session.unused_transaction == b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION READ ONLY;"
    assert session.holds
    session = watched.run("COMMIT")
    assert (session.pins, session.holds, session.unused_transaction) == (NONE, False, b"")
    watched.run("SET TRANSACTION READ ONLY")
    session = watched.run("SELECT a FROM watched")
    assert session.state.transaction == b""


BEGINS = [
    ("BEGIN", b"START TRANSACTION;"),
    ("START TRANSACTION READ ONLY", b"START TRANSACTION READ ONLY;"),
    ("START TRANSACTION READ WRITE", b"START TRANSACTION READ WRITE;"),
    ("START TRANSACTION WITH CONSISTENT SNAPSHOT", b""),
    ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", b""),
    ("XA START 'watched'", b""),
]


@pytest.mark.parametrize(("sql", "again"), BEGINS)
def test_an_unused_transaction(watched: Watched, sql: str, again: bytes) -> None:
    session = watched.run(sql)
    assert session.holds
    assert session.unused_transaction == again
    assert not watched.run("SELECT a FROM watched").unused_transaction


@pytest.mark.parametrize("sql", ["DO 1", "SAVEPOINT a", "SELECT 1", "SET @x = 1", "SELECT nothing"])
def test_a_transaction_in_which_something_was_done(watched: Watched, sql: str) -> None:
    watched.run("BEGIN")
    assert not watched.run(sql).unused_transaction
    session = watched.run("COMMIT AND CHAIN")
    assert bool(session.unused_transaction) == (sql != "SET @x = 1" or bool(session.pins))


def test_locked_tables(watched: Watched) -> None:
    session = watched.run("LOCK TABLES watched READ")
    assert (session.pins, session.holds) == (PinReason.LOCKED_TABLES, True)


def test_a_set_for_one_statement_is_not_believed(watched: Watched, database: DatabaseServer) -> None:
    if database.kind == "mysql":
        session = watched.run("SELECT /*+ SET_VAR(sort_buffer_size=300000) */ 1")
        name = b"sort_buffer_size"
    else:
        session = watched.run("SET STATEMENT max_statement_time=5 FOR SELECT 1")
        name = b"max_statement_time"
    assert name in session.doubtful or session.pins


BEFORE = {
    "alone": [],
    "in a transaction": ["BEGIN"],
    "without autocommit": ["SET autocommit=0"],
    "in one that began by itself": ["SET autocommit=0", "SELECT a FROM watched"],
    "under odd modes": ["SET sql_mode='ANSI,NO_BACKSLASH_ESCAPES'"],
}


@pytest.mark.parametrize("before", BEFORE)
def test_what_a_failed_statement_changed_is_told_by_the_probe(watched: Watched, before: str) -> None:
    for sql in BEFORE[before]:
        watched.run(sql)
    status = watched.session.status
    session = watched.run("CALL fails()")
    assert b"time_zone" not in session.state.variables
    session = watched.probe()
    assert session.state.variables[b"time_zone"] == b"+02:00"
    assert b"time_zone" in session.doubtful
    # The transaction, or that there is none, is as it was, and so is what the client may ask about its error.
    assert session.status & IN_TRANSACTION == status & IN_TRANSACTION
    assert len(watched.packets.query("SHOW WARNINGS")) > 5


def test_a_user_variable_that_a_failed_function_set_pins(watched: Watched) -> None:
    assert watched.run("SELECT fails_with_variable()").pins == NONE
    assert watched.probe().pins & PinReason.STATE_CHANGE


@pytest.mark.parametrize("sql", ["SELECT nothing", "INSERT INTO watched (id) VALUES (1), (1)", "SELECT"])
def test_a_statement_that_just_failed_pins_nothing(watched: Watched, sql: str) -> None:
    watched.run(sql)
    session = watched.probe()
    assert (session.pins, session.holds, session.doubtful) == (NONE, False, set())


def test_the_probe_leaves_the_next_transaction_alone(watched: Watched) -> None:
    watched.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    watched.run("SELECT nothing")
    assert watched.probe().state.transaction == b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;"
    watched.run("LOCK TABLES watched READ")
    watched.run("SELECT nothing")
    assert watched.probe().pins & PinReason.LOCKED_TABLES
    assert watched.packets.query("INSERT INTO watched (a) VALUES (1)")[-1][0] == 0xFF  # still locked


def test_the_probe_needs_no_multi_statements(watched: Watched) -> None:
    watched.packets.command(0x1B, b"\x01\x00")
    watched.run("SELECT nothing")
    assert watched.probe().pins == NONE
