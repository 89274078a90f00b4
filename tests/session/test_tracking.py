"""A client's own settings of the trackers, as statements name them; the connection itself is imitated."""

from __future__ import annotations

import pytest

from rdsproxy.protocol.reply import Reply
from rdsproxy.protocol.results import Result
from rdsproxy.protocol.telling import Settings
from rdsproxy.session.pinning import PinReason
from rdsproxy.session.questions import questions_of
from rdsproxy.session.session import Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers, Trait
from tests.session.test_session import BASELINE, IDLE, STATE_CHANGE, variable

TRACKED = b"autocommit,sql_mode"
DEFAULT = Settings(b"autocommit", b"1", b"0", b"OFF")


def begin(*, mariadb: bool = False, tracking: Settings = DEFAULT) -> Session:
    states = States(
        {**BASELINE, b"session_track_system_variables": TRACKED},
        {},
        Lexers(),
        quiet_errors=mariadb,
        tracking=tracking,
    )
    return Session(states, states.fresh, track=True)


def foresee(session: Session, sql: str) -> set[str]:
    """Give which settings are put in force for a statement, without the prefix that all names have."""
    traits = session.state.lexer.traits(sql.encode())
    session.foresee(traits, sql.encode())
    session.sent(traits)
    return {name.decode().removeprefix("session_track_") for name in session.tracking.named}


ALL = {"system_variables", "schema", "state_change", "transaction_info"}
FOR_A_SET = ALL - {"transaction_info"}


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT @@session_track_schema", {"schema"}),
        ("select @@SESSION.`session_track_schema`, CONCAT(@@session_track_transaction_info, 'x') AS a LIMIT 1;",
         {"schema", "transaction_info"}),
        ("SHOW VARIABLES LIKE 'session_track%'", ALL),
        ("SHOW SESSION VARIABLES WHERE Variable_name LIKE 'session\\_track\\_schema'", ALL),
        ("SET session_track_schema = 0", FOR_A_SET),
        ("SET NAMES utf8, session_track_transaction_info = OFF; SET @a = @@session_track_schema", ALL),
        ("SELECT 'session_track_schema'", set()),
        ("SET session_track_gtids = OFF", set()),
        ("SELECT a FROM t WHERE b = @@session_track_schema", set()),
        ("SELECT f(), @@session_track_schema", set()),
        ("SELECT @@session_track_schema; SELECT 1", set()),
        ("SHOW TABLES LIKE 'session_track%'", set()),
    ],
)  # fmt: skip
def test_what_is_put_in_force(sql: str, named: set[str]) -> None:
    session = begin()
    assert foresee(session, sql) == named
    assert not session.reasons
    assert foresee(session, "SET sql_mode = ''") == set()


@pytest.mark.parametrize(
    "sql",
    [
        "SET session_track_schema = 0; SELECT 1",
        "SELECT 1; SET session_track_schema = 0",
        "SET session_track_schema = (SELECT 0 FROM t)",
        "SET session_track_schema = f()",
        "SET session_track_schema = 0, GLOBAL a = 1, b = 2",
        "SET STATEMENT session_track_schema = 0 FOR SELECT 1",
    ],
)
def test_a_set_of_which_not_all_can_be_known_pins(sql: str) -> None:
    session = begin()
    assert foresee(session, sql) == set()
    assert session.pins & PinReason.TRACKERS_OFF


def answered(session: Session, sql: str, *blocks: bytes) -> None:
    """Have the statement answered by the server, on a connection with the client's own settings."""
    session.tracking.own_in_force()
    reply = Reply()
    reply.row_count = 0
    reply.changes = list(blocks) or None
    session.learn(IDLE, reply.changes, session.state.lexer.traits(sql.encode()))
    session.answered_by(reply, session.state.lexer.traits(sql.encode()))


def test_a_set_is_asked_for_and_the_proxys_settings_are_put_back() -> None:
    session = begin()
    sql = "SET session_track_state_change = 1, sql_mode = 'ANSI'"
    foresee(session, sql)
    assert session.tracking.own().endswith(
        b"SET @@SESSION.session_track_schema=1, @@SESSION.session_track_state_change=0,"
        b" @@SESSION.session_track_system_variables='autocommit'"
    )
    answered(session, sql)
    assert not session.holds
    (_, take_mode), (ask, take) = questions_of(session)
    assert ask.endswith(
        b"SELECT @@SESSION.session_track_system_variables, @@SESSION.session_track_schema,"
        b" @@SESSION.session_track_state_change LIMIT 1"
    )
    take_mode(Result(rows=[(b"ANSI",)], status=IDLE))
    take(Result(rows=[(b"autocommit", b"1", b"1")], status=IDLE))
    assert session.state.variables == {b"sql_mode": b"ANSI"}
    ((put_back, done),) = questions_of(session)
    assert put_back.endswith(
        b"SET @@SESSION.session_track_schema=1, @@SESSION.session_track_state_change=1,"
        b" @@SESSION.session_track_system_variables='autocommit,sql_mode'"
    )
    done(Result(status=IDLE))
    assert questions_of(session) == []
    assert session.tracking.settings == DEFAULT._replace(state_change=b"1")
    assert session.tracking.telling is not None
    assert session.tracking.telling.tell(STATE_CHANGE) == STATE_CHANGE
    session.reset()
    assert session.tracking.settings == DEFAULT
    assert session.tracking.telling.tell(STATE_CHANGE) is None


def test_what_is_only_read_is_not_asked_for() -> None:
    session = begin()
    foresee(session, "SELECT @@session_track_schema")
    answered(session, "SELECT @@session_track_schema")
    ((put_back, done),) = questions_of(session)
    assert put_back.endswith(b"SET @@SESSION.session_track_schema=1")
    done(Result(status=IDLE))
    assert questions_of(session) == []


def test_mysqls_counter_of_statements_is_tracked_for_who_asks_for_it() -> None:
    session = begin()
    sql = "SET session_track_system_variables = '*'"
    foresee(session, sql)
    answered(session, sql, variable(b"statement_id", b"7"))
    ((_, take),) = questions_of(session)
    take(Result(rows=[(b"*", b"1", b"0")], status=IDLE))
    assert session.state.variables == {b"session_track_system_variables": b"*"}
    ((put_back, done),) = questions_of(session)
    assert put_back.endswith(b"session_track_system_variables='*'")
    done(Result(status=IDLE))
    session.learn(IDLE, [variable(b"statement_id", b"8")], Trait.NONE)
    assert b"statement_id" not in session.state.variables
    session.reset()
    assert session.state is session.states.fresh
    everything = DEFAULT._replace(system_variables=b"a,statement_id")
    assert begin(tracking=everything).state.variables == {b"session_track_system_variables": b"*"}
    position = DEFAULT._replace(system_variables=b"last_gtid")
    assert begin(mariadb=True, tracking=position).state.variables == {b"session_track_system_variables": b"*"}


def test_names_are_the_servers_whatever_the_client_calls_them() -> None:
    session = begin()
    sql = "SET session_track_system_variables = 'AutoCommit', autocommit = 0"
    foresee(session, sql)
    answered(session, sql, variable(b"AutoCommit", b"OFF") + STATE_CHANGE)
    assert session.state.variables == {b"autocommit": b"OFF"}
    assert not session.doubtful


@pytest.mark.parametrize("name", ["last_insert_id", "timestamp", "completion_type"])
def test_what_cannot_be_asked_for_pins(name: str) -> None:
    session = begin()
    sql = f"SET session_track_schema = 0, {name} = 1"
    foresee(session, sql)
    answered(session, sql)
    assert session.pins & PinReason.TRACKERS_OFF


def test_what_a_routine_has_set_is_the_clients_too() -> None:
    session = begin()
    session.learn(IDLE, [variable(b"session_track_schema", b"OFF") + STATE_CHANGE], Trait.NONE)
    assert session.pins & PinReason.TRACKERS_OFF
    assert session.tracking.settings == DEFAULT._replace(schema=b"0")
    assert not session.state.variables


def test_a_lost_connection_takes_no_setting_with_it() -> None:
    session = begin()
    sql = "SET session_track_schema = 0"
    foresee(session, sql)
    session.tracking.own_in_force()
    session.lost()
    assert questions_of(session) == []
    assert session.tracking.settings == DEFAULT
