"""What a session becomes by what the servers tell; the tracker blocks are those of MariaDB 10.11 and MySQL 9.7."""

from __future__ import annotations

import pytest

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.datatypes import lenenc_bytes
from rdsproxy.protocol.reply import FIRST, PREPARED
from rdsproxy.protocol.results import Result
from rdsproxy.relay.repeating import warnings_survive
from rdsproxy.session.leaving import QUIET, SHOW_WARNINGS, TAKE_INSERT_ID, Left
from rdsproxy.session.pinning import PinReason, explain
from rdsproxy.session.questions import ASK_INSERT_ID, PROBE, questions_of
from rdsproxy.session.retelling import GoneError, reading_of, retold
from rdsproxy.session.session import Session
from rdsproxy.session.state import States
from rdsproxy.session.statements import UNCOUNTED, Lexers, Trait
from rdsproxy.session.transactions import begun_again, give_up

IDLE = cap.SERVER_STATUS_AUTOCOMMIT
IN_TRANSACTION = IDLE | cap.SERVER_STATUS_IN_TRANS
BASELINE = {
    b"autocommit": b"ON",
    b"sql_mode": b"",
    b"character_set_connection": b"utf8mb4",
    b"collation_connection": b"utf8mb4_general_ci",
    b"max_statement_time": b"0.000000",
    b"foreign_key_checks": b"ON",
}
STATE_CHANGE = b"\x02\x02\x011"


def variable(name: bytes, value: bytes) -> bytes:
    return b"\x00" + lenenc_bytes(lenenc_bytes(name) + lenenc_bytes(value))


def schema(name: bytes) -> bytes:
    return b"\x01" + lenenc_bytes(lenenc_bytes(name))


def transaction(state: bytes) -> bytes:
    return b"\x05" + lenenc_bytes(lenenc_bytes(state))


def characteristics(text: bytes) -> bytes:
    return b"\x04" + lenenc_bytes(lenenc_bytes(text))


def make_session() -> Session:
    states = States(BASELINE, {}, Lexers())
    return Session(states, states.fresh)


def test_set_changes_the_state_and_pins_nothing() -> None:
    session = make_session()
    session.learn(IDLE, [variable(b"autocommit", b"OFF") + STATE_CHANGE], Trait.SETS)
    assert session.state.variables == {b"autocommit": b"OFF"}
    assert not session.holds
    assert questions_of(session) == []


def test_use_changes_the_schema() -> None:
    session = make_session()
    session.learn(IDLE, [schema(b"app") + STATE_CHANGE], Trait.USES)
    assert session.state.schema == b"app"
    assert not session.holds


def test_a_change_alone_pins() -> None:
    session = make_session()
    session.learn(IDLE, [STATE_CHANGE], Trait.NONE)
    assert session.pins == PinReason.STATE_CHANGE
    assert "temporary table" in explain(session.pins)


def test_a_change_beside_a_set_of_another_statement_pins() -> None:
    session = make_session()
    session.learn(IDLE, [variable(b"sql_mode", b"ANSI") + STATE_CHANGE, STATE_CHANGE], Trait.SETS)
    assert session.pins == PinReason.STATE_CHANGE


def test_a_schema_told_unchanged_pins() -> None:
    # A routine of another schema, harmless or not, shows like this.
    session = make_session()
    session.learn(IDLE, [schema(b"") + STATE_CHANGE], Trait.NONE)
    assert session.pins == PinReason.STATE_CHANGE


def test_a_dropped_schema_is_none() -> None:
    session = make_session()
    session.learn(IDLE, [schema(b"app") + STATE_CHANGE], Trait.USES)
    session.learn(IDLE, [schema(b"")], Trait.NONE)
    assert session.state is session.states.fresh


def test_names_asks_for_the_collation() -> None:
    session = make_session()
    session.learn(IDLE, [variable(b"character_set_connection", b"utf8mb4") + STATE_CHANGE], Trait.SETS)
    (packet, take), = questions_of(session)
    assert packet.endswith(b"SELECT @@SESSION.collation_connection LIMIT 1")
    take(Result(rows=[(b"utf8mb4_bin",)], status=IDLE))
    assert session.state.variables == {b"collation_connection": b"utf8mb4_bin"}
    assert questions_of(session) == []


def test_set_statement_is_not_believed() -> None:
    # MariaDB reports the value that holds for the one statement.
    session = make_session()
    session.learn(IDLE, [variable(b"max_statement_time", b"100.000000")], Trait.NONE)
    (packet, take), = questions_of(session)
    assert b"@@SESSION.max_statement_time" in packet
    take(Result(rows=[(b"0.000000",)], status=IDLE))
    assert session.state is session.states.fresh


def test_switches_are_asked_as_numbers_and_kept_as_words() -> None:
    session = make_session()
    session.learn(IDLE, [variable(b"foreign_key_checks", b"OFF")], Trait.NONE)
    (_, take), = questions_of(session)
    take(Result(rows=[(b"1",)], status=IDLE))
    assert session.state is session.states.fresh


def test_a_variable_that_moves_by_itself_pins() -> None:
    # SET timestamp=DEFAULT reports the value before it.
    session = make_session()
    session.learn(IDLE, [variable(b"timestamp", b"1234.000000") + STATE_CHANGE], Trait.SETS)
    assert session.pins == PinReason.VOLATILE_VARIABLE


def test_turning_the_trackers_off_pins() -> None:
    session = make_session()
    session.learn(IDLE, [variable(b"session_track_schema", b"OFF") + STATE_CHANGE], Trait.SETS)
    assert session.pins == PinReason.TRACKERS_OFF


def test_a_transaction_holds_and_pins_nothing() -> None:
    session = make_session()
    session.learn(IN_TRANSACTION, [transaction(b"T_______") + characteristics(b"START TRANSACTION;")], Trait.NONE)
    assert session.holds
    assert not session.pins
    session.learn(IDLE, [transaction(b"________") + characteristics(b"")], Trait.NONE)
    assert not session.holds


def test_locked_tables_hold_until_they_are_unlocked() -> None:
    session = make_session()
    session.learn(IDLE, [transaction(b"_______L")], Trait.NONE)
    assert session.pins == PinReason.LOCKED_TABLES
    assert not session.lasting_pins
    # MySQL's word alone, as after TRUNCATE, does not count.
    session.learn(IDLE, [transaction(b"________")], Trait.NONE)
    assert session.pins == PinReason.LOCKED_TABLES
    session.learn(IDLE, None, Trait.UNLOCKS)
    assert not session.holds
    session.learn(IDLE, [transaction(b"_______L")], Trait.NONE)
    session.learn(IN_TRANSACTION, [transaction(b"T_______")], Trait.NONE)
    assert not session.pins


def test_what_is_set_for_the_next_transaction_is_a_part_of_the_state_until_it() -> None:
    session = make_session()
    text = b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;"
    session.learn(IDLE, [characteristics(text)], Trait.NONE)
    assert (session.state.transaction, session.holds) == (text, False)
    assert session.state.settings is session.states.fresh
    session.learn(IN_TRANSACTION, [characteristics(text + b" START TRANSACTION;")], Trait.NONE)
    assert session.state is session.states.fresh
    session.learn(IDLE, [characteristics(b"")], Trait.NONE)
    assert not session.holds


def test_characteristics_that_are_not_understood_hold() -> None:
    session = make_session()
    session.learn(IDLE, [characteristics(b"SET TRANSACTION TO THE MOON;")], Trait.NONE)
    assert (session.pins, session.state.transaction) == (PinReason.NEXT_TRANSACTION, b"")
    session.learn(IDLE, [characteristics(b"")], Trait.NONE)
    assert not session.holds


def test_an_unused_transaction_can_be_given_up() -> None:
    session = make_session()
    begin = [transaction(b"T_______") + characteristics(b"START TRANSACTION;")]
    session.learn(IN_TRANSACTION, begin, Trait.NONE)
    assert not give_up(session), "there may have been a statement behind it"
    session.learn(IN_TRANSACTION, begin, Trait.NONE, alone=True)
    assert session.unused_transaction == b"START TRANSACTION;"
    session.pins |= PinReason.CURSOR
    assert not give_up(session)
    session.pins &= ~PinReason.CURSOR
    assert give_up(session)
    assert session.unused_transaction == session.state.transaction == b"START TRANSACTION;"
    assert session.status == IN_TRANSACTION
    begun_again(session)
    assert session.state is session.states.fresh
    assert session.unused_transaction == b"START TRANSACTION;", "as long as no statement is sent"
    session.sent(Trait.NONE)
    assert not session.unused_transaction


def test_an_unused_transaction_survives_a_lost_connection() -> None:
    session = make_session()
    begin = [transaction(b"T_______") + characteristics(b"START TRANSACTION;")]
    session.learn(IN_TRANSACTION, begin, Trait.NONE, alone=True)
    session.lost(unsent=True)
    assert (session.status, session.state.transaction) == (IN_TRANSACTION, b"START TRANSACTION;")
    session.lost(unsent=True)
    assert session.state.transaction == b"START TRANSACTION;", "lost once more while it is begun again"
    begun_again(session)
    session.pins |= PinReason.TEMPORARY_TABLE
    session.lost(unsent=True)
    assert (session.status, session.state.transaction) == (IDLE, b""), "it goes with what is lost"
    session.learn(IN_TRANSACTION, begin, Trait.NONE, alone=True)
    session.lost()
    assert (session.status, session.state.transaction) == (IDLE, b""), "a statement may have used it"


def test_one_statement_more_uses_a_transaction() -> None:
    session = make_session()
    begin = [transaction(b"T_______") + characteristics(b"START TRANSACTION;")]
    session.learn(IN_TRANSACTION, begin, Trait.NONE, alone=True)
    session.sent(Trait.NONE)
    assert not session.unused_transaction
    session.learn(IN_TRANSACTION, [transaction(b"T_R___S_")], Trait.NONE, alone=True)
    session.learn(IN_TRANSACTION, [characteristics(b"START TRANSACTION;")], Trait.NONE, alone=True)
    assert not session.unused_transaction, "begun again by the same connection, but the tracker says that it is used"


def test_a_failed_statement_is_probed() -> None:
    session = make_session()
    session.unprobed = True
    (packet, take), = questions_of(session)
    assert packet is PROBE
    take(Result(status=IN_TRANSACTION, changes=[variable(b"autocommit", b"OFF") + STATE_CHANGE]))
    assert session.holds
    # What a failed statement has set is asked for again: the statement was no plain SET.
    assert [packet[4:] for packet, _ in questions_of(session)] == [b"\x03SELECT @@SESSION.autocommit LIMIT 1"]


def test_an_insert_id_stays_on_the_connection_until_somebody_takes_it() -> None:
    session = make_session()
    session.borrowed()
    session.insert_id_moved = True
    assert questions_of(session) == []
    left = Left(session, None)
    ((packet, take),) = left.questions()
    assert packet is TAKE_INSERT_ID
    take(Result(rows=[(b"7", b"0")], status=IDLE))
    assert session.insert_id == 7


def test_a_zero_that_was_never_the_sessions_own_is_not_taken() -> None:
    session = make_session()
    session.insert_id = 5
    session.borrowed()
    session.insert_id_moved = True
    ((_, take),) = Left(session, None).questions()
    take(Result(rows=[(b"0", b"0")], status=IDLE))
    assert session.insert_id == 5


def test_what_an_abandoned_session_left_is_forgotten() -> None:
    session = make_session()
    session.insert_id_moved = session.diagnostics.remarks = True
    left = Left(session, None)
    assert [packet for packet, _ in left.questions()] == [SHOW_WARNINGS, TAKE_INSERT_ID, QUIET]
    left.outdated()
    assert [packet for packet, _ in left.questions()] == [TAKE_INSERT_ID, QUIET]
    left.abandoned()
    (packet, take), (last, _) = left.questions()
    assert (packet, last) == (TAKE_INSERT_ID, QUIET)
    take(Result(rows=[(b"7", b"0")]))
    assert session.insert_id == 0


def test_an_insert_id_of_a_transaction_is_asked_at_once_where_the_connection_does_not_have_the_sessions() -> None:
    session = make_session()
    session.insert_id = 5
    session.borrowed()
    session.learn(IN_TRANSACTION, None, Trait.NONE)
    session.insert_id_moved = True
    (packet, take), = questions_of(session)
    assert packet is ASK_INSERT_ID
    take(Result(rows=[(b"0",)], status=IN_TRANSACTION))
    assert (session.insert_id, session.insert_id_here) == (5, False), "an explicit id: LAST_INSERT_ID() is untouched"
    session.insert_id_moved = True
    (_, take), = questions_of(session)
    take(Result(rows=[(b"9",)], status=IN_TRANSACTION))
    assert (session.insert_id, session.insert_id_here) == (9, True)


def test_a_reset_leaves_nothing() -> None:
    session = make_session()
    session.foresee(Trait.USER_VARIABLE | Trait.INSERT_ID, None)
    session.sent(Trait.USER_VARIABLE | Trait.INSERT_ID)
    session.learn(IN_TRANSACTION, [variable(b"sql_mode", b"ANSI") + STATE_CHANGE], Trait.SETS)
    session.insert_id = 5
    session.reset()
    assert (session.state, session.pins, session.insert_id) == (session.states.fresh, PinReason.NONE, 0)
    assert not session.holds


def test_a_command_that_is_sent_again_finds_what_is_known() -> None:
    session = make_session()
    diagnostics = session.diagnostics
    diagnostics.row_count, diagnostics.found_rows, diagnostics.found_rows_here = 3, 7, True
    survive = diagnostics.surviving()
    session.lost()
    assert (diagnostics.row_count, diagnostics.found_rows) == (-1, 0)
    survive()
    assert (diagnostics.row_count, diagnostics.found_rows, diagnostics.found_rows_here) == (3, 7, False)


def test_warnings_that_are_lost_and_could_still_be_read() -> None:
    session = make_session()
    select = (b"\x09\0\0\0\x03SELECT 1", FIRST, None, True)
    prepare = (b"\x09\0\0\0\x16SELECT 1", PREPARED, None, True)
    assert warnings_survive(session, prepare, Trait.NONE)
    session.diagnostics.remarks = True
    assert warnings_survive(session, select, UNCOUNTED)
    assert not warnings_survive(session, select, Trait.DIAGNOSTICS)
    assert not warnings_survive(session, prepare, Trait.NONE)


def test_row_count_of_a_bulk_is_not_known() -> None:
    session = make_session()
    session.counted_by_row()
    reading = reading_of(b"SELECT ROW_COUNT()", session.state)
    with pytest.raises(GoneError):
        retold(reading, session.diagnostics, session.state, quoted=True)
