"""States as values, and the commands that lead from one to another, played against a model of a server."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import PacketReader
from rdsproxy.session.restore import plan, set_statement
from rdsproxy.session.state import Collation, State, States
from rdsproxy.session.statements import Lexers

BASELINE = {
    b"autocommit": b"ON",
    b"sql_mode": b"STRICT_TRANS_TABLES",
    b"time_zone": b"SYSTEM",
    b"max_statement_time": b"0.000000",
    b"character_set_client": b"utf8mb4",
    b"character_set_connection": b"utf8mb4",
    b"character_set_results": b"utf8mb4",
    b"collation_connection": b"utf8mb4_general_ci",
}
VALUES = {
    b"autocommit": [b"ON", b"OFF"],
    b"sql_mode": [b"", b"ANSI_QUOTES,ANSI", b"STRICT_TRANS_TABLES"],
    b"time_zone": [b"SYSTEM", b"+01:00"],
    b"max_statement_time": [b"0.000000", b"1.500000"],
    b"character_set_client": [b"utf8mb4", b"latin1"],
    b"character_set_connection": [b"utf8mb4", b"latin1"],
    b"character_set_results": [b"utf8mb4", b"latin1", b""],
    b"collation_connection": [b"utf8mb4_general_ci", b"utf8mb4_bin", b"latin1_bin"],
}
DEFAULT_COLLATION = {b"utf8mb4": b"utf8mb4_general_ci", b"latin1": b"latin1_swedish_ci"}
COLLATIONS = {45: Collation(b"utf8mb4_general_ci", b"utf8mb4"), 8: Collation(b"latin1_swedish_ci", b"latin1")}


def make_states() -> States:
    return States(BASELINE, COLLATIONS, Lexers(), {b"collation_connection": b"utf8mb4_0900_ai_ci"})


class Server:
    """As much of a server as the plans need: a schema, variables, the multi-statement option."""

    def __init__(self, state: State) -> None:
        self.schema = state.schema
        self.multi_statements = state.multi_statements
        self.variables = {**BASELINE, **state.variables}

    def run(self, packet: bytes) -> None:
        reader = PacketReader(1 << 20)
        reader.feed(packet)
        payload = reader.next()
        assert payload is not None
        if payload[0] == commands.INIT_DB:
            if not payload[1:].isascii():
                assert self.variables[b"character_set_client"] == b"utf8mb4"
            self.schema = payload[1:]
        elif payload[0] == commands.SET_OPTION:
            self.multi_statements = payload[1:] == b"\0\0"
        elif payload[1:] == b"SET NAMES utf8mb4":
            for kind in (b"client", b"connection", b"results"):
                self.variables[b"character_set_" + kind] = b"utf8mb4"
            self.variables[b"collation_connection"] = DEFAULT_COLLATION[b"utf8mb4"]
        else:
            self.set(payload[1:])

    def set(self, sql: bytes) -> None:
        assert sql.startswith(b"SET ")
        if names := re.match(rb"SET NAMES '(\w+)' COLLATE '(\w+)'(?:, |$)", sql):
            for kind in (b"client", b"connection", b"results"):
                self.variables[b"character_set_" + kind] = names[1]
            self.variables[b"collation_connection"] = names[2]
            assert names[2].startswith(names[1] + b"_")
            sql = b"SET " + sql[names.end() :]
            if sql == b"SET ":
                return
        value = rb"(?:'([^']*)'|_utf8mb4 X'([0-9a-f]*)'|(NULL)|(-?[\d.]+))"
        found = re.findall(rb"@@SESSION\.(\w+)=" + value + rb"(?:, |$)", sql[4:])
        assert found
        for name, text, hexadecimal, _null, number in found:
            self.variables[name] = text or bytes.fromhex(hexadecimal.decode()) or number
            if name == b"character_set_connection":
                self.variables[b"collation_connection"] = DEFAULT_COLLATION[self.variables[name]]


variables = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})
schemas = st.sampled_from([b"", b"app", "größe".encode()])


@given(schemas, schemas, st.booleans(), st.booleans(), variables, variables)
def test_a_plan_leads_to_the_wanted_state(
    schema: bytes,
    other_schema: bytes,
    multi: bool,
    other_multi: bool,
    first: dict[bytes, bytes],
    second: dict[bytes, bytes],
) -> None:
    states = make_states()
    current = states.intern(schema, multi, first)
    wanted = states.intern(other_schema, other_multi, second)
    packets = plan(current, wanted, states)
    if schema and not other_schema:
        assert packets is None
        return
    assert packets is not None
    server = Server(current)
    for packet in packets:
        server.run(packet)
    assert server.schema == wanted.schema
    assert server.multi_statements == wanted.multi_statements
    assert server.variables == {**BASELINE, **wanted.variables}
    if current is wanted:
        assert packets == []


def test_equal_states_are_one_object() -> None:
    states = make_states()
    first = states.intern(b"app", True, {b"sql_mode": b"", b"autocommit": b"OFF"})
    assert states.intern(b"app", True, {b"autocommit": b"OFF", b"sql_mode": b""}) is first
    assert states.intern(b"app", False, {b"autocommit": b"OFF", b"sql_mode": b""}) is not first


def test_the_baseline_is_no_difference() -> None:
    states = make_states()
    assert states.with_variables(states.fresh, {b"autocommit": b"ON", b"time_zone": b"SYSTEM"}) is states.fresh
    changed = states.with_variables(states.fresh, {b"autocommit": b"OFF"})
    assert states.with_variables(changed, {b"autocommit": b"ON"}) is states.fresh


def test_a_client_begins_with_its_collation() -> None:
    states = make_states()
    assert states.of_client(b"", True, 45) is states.fresh
    latin1 = states.of_client(b"app", True, 8)
    assert latin1.variables[b"collation_connection"] == b"latin1_swedish_ci"
    unknown = states.of_client(b"", True, 9999)
    assert unknown.variables == {b"collation_connection": b"utf8mb4_0900_ai_ci"}


def test_a_reset_goes_to_the_defaults() -> None:
    states = make_states()
    state = states.intern(b"app", False, {b"sql_mode": b""})
    reset = states.after_reset(state, states.of_client(b"", True, 8))
    assert (reset.schema, reset.multi_statements) == (b"app", False)
    assert reset.variables == {b"collation_connection": b"utf8mb4_0900_ai_ci"}


def test_a_reset_of_mariadb_goes_to_the_character_sets_of_the_handshake() -> None:
    states = States(BASELINE, COLLATIONS, Lexers(), {}, reset_keeps_charset=True)
    opening = states.of_client(b"", True, 8)
    state = states.intern(b"app", False, {b"sql_mode": b"", b"character_set_client": b"utf8mb4"})
    assert states.after_reset(state, opening) is states.of_client(b"app", False, 8)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"100", b"100"),
        (b"-1.5", b"-1.5"),
        (b"ON", b"'ON'"),
        (b"", b"''"),
        (b"it's", b"_utf8mb4 X'69742773'"),
        (b"a\\b", b"_utf8mb4 X'615c62'"),
        ("ä".encode(), b"_utf8mb4 X'c3a4'"),
    ],
)
def test_values_are_written_so_that_no_sql_mode_matters(value: bytes, written: bytes) -> None:
    assert set_statement({b"init_connect": value}) == b"SET @@SESSION.init_connect=" + written


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        set_statement({b"a=1; DROP TABLE t": b"1"})
