"""What of a connection's trackers a client is told; the blocks are those of MariaDB 10.11 and MySQL 9.7."""

from __future__ import annotations

import pytest

from rdsproxy.protocol.datatypes import lenenc_bytes
from rdsproxy.protocol.reply import FIRST, ClientForm, Reply
from rdsproxy.protocol.telling import EVERYTHING, NOTHING, Settings, Telling
from tests.protocol.replies import OkPart, Parts, ResultSet, server_bytes
from tests.protocol.test_reply import chunks

STATE_CHANGE = b"\x02\x011"
GTID = b"\x03\x04\x00\x02a1"
DEFAULT = Settings(b"time_zone,autocommit,character_set_client", b"1", b"0", b"OFF")


def variable(name: bytes, value: bytes) -> bytes:
    return b"\x00" + lenenc_bytes(lenenc_bytes(name) + lenenc_bytes(value))


def schema(name: bytes) -> bytes:
    return b"\x01" + lenenc_bytes(lenenc_bytes(name))


def state(text: bytes) -> bytes:
    return b"\x05" + lenenc_bytes(lenenc_bytes(text))


def characteristics(text: bytes) -> bytes:
    return b"\x04" + lenenc_bytes(lenenc_bytes(text))


ZONE = variable(b"time_zone", b"+01:00")
MODE = variable(b"sql_mode", b"ANSI")
AUTOCOMMIT = variable(b"autocommit", b"ON")
IDLE = state(b"________")
BEGUN = state(b"T_______")
BEGIN = BEGUN + characteristics(b"START TRANSACTION;")
BEGIN_AGAIN = characteristics(b"START TRANSACTION;")
SNAPSHOT = state(b"T_R_____") + characteristics(b"START TRANSACTION WITH CONSISTENT SNAPSHOT;")
NEXT_READ_ONLY = characteristics(b"SET TRANSACTION READ ONLY;")
NO_CHARACTERISTICS = characteristics(b"")
COMMIT = IDLE + NO_CHARACTERISTICS

ALL_KINDS = ZONE + schema(b"app") + STATE_CHANGE + GTID + BEGIN

BLOCKS = [
    (EVERYTHING, ALL_KINDS, ALL_KINDS),
    (EVERYTHING, b"", b""),
    (DEFAULT, ZONE + MODE + STATE_CHANGE, ZONE),
    (DEFAULT, MODE + STATE_CHANGE, None),
    (DEFAULT, STATE_CHANGE, None),
    (DEFAULT, schema(b"app") + STATE_CHANGE, schema(b"app")),
    (DEFAULT, GTID, GTID),
    (DEFAULT, b"", None),
    (DEFAULT._replace(schema=b"0"), schema(b"app") + STATE_CHANGE, None),
    (DEFAULT._replace(state_change=b"1"), MODE + STATE_CHANGE, STATE_CHANGE),
    (DEFAULT._replace(system_variables=b" SQL_mode ,,x"), ZONE + STATE_CHANGE, None),
    (DEFAULT._replace(transaction_info=b"CHARACTERISTICS"), BEGIN, BEGIN),
    (DEFAULT._replace(transaction_info=b"STATE"), BEGIN, BEGUN),
    (DEFAULT._replace(transaction_info=b"STATE"), BEGIN_AGAIN, b""),
    (DEFAULT._replace(transaction_info=b"STATE"), b"", b""),
    (DEFAULT._replace(transaction_info=b"STATE"), STATE_CHANGE, None),
    (NOTHING, ZONE + schema(b"app") + STATE_CHANGE + BEGIN, None),
]  # fmt: skip


def test_a_statement_that_sets_the_list_is_not_told_its_own_number() -> None:
    listed, number = variable(b"session_track_system_variables", b"*"), variable(b"statement_id", b"7")
    assert Telling(EVERYTHING, mariadb=False).tell(listed + number) == listed
    assert Telling(EVERYTHING, mariadb=False).tell(ZONE + number) == ZONE + number


@pytest.mark.parametrize("mariadb", [False, True], ids=["mysql", "mariadb"])
@pytest.mark.parametrize(("settings", "block", "told"), BLOCKS)
def test_a_block(settings: Settings, block: bytes, told: bytes | None, mariadb: bool) -> None:
    assert Telling(settings, mariadb=mariadb).tell(block) == told


def test_mysql_names_variables_as_the_client_does_and_sorts_by_that() -> None:
    settings = DEFAULT._replace(system_variables=b"time_zone, Autocommit,Sql_Mode")
    told = variable(b"Autocommit", b"ON") + variable(b"Sql_Mode", b"ANSI") + ZONE
    assert Telling(settings, mariadb=False).tell(AUTOCOMMIT + MODE + ZONE + STATE_CHANGE) == told
    assert Telling(settings, mariadb=True).tell(AUTOCOMMIT + MODE + ZONE + STATE_CHANGE) == AUTOCOMMIT + MODE + ZONE


def test_mysql_tells_explicit_transactions_without_being_asked() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    steps = [
        (BEGIN, BEGUN),
        (BEGIN_AGAIN, b""),
        (state(b"T_____S_"), None),
        (BEGIN, b""),  # COMMIT AND CHAIN
        (MODE + STATE_CHANGE, None),
        (ZONE + COMMIT, ZONE + IDLE),
        (SNAPSHOT, state(b"T_R_____")),
        (state(b"_______L") + NO_CHARACTERISTICS, IDLE),
        (IDLE, None),  # UNLOCK TABLES
        (state(b"I_R___S_"), None),
        (IDLE, None),
        (NEXT_READ_ONLY, None),
        (NO_CHARACTERISTICS, None),  # it was for a statement by itself
        (NO_CHARACTERISTICS, b""),  # a transaction in a procedure
    ]
    for block, told in steps:
        assert telling.tell(block) == told
    mariadb = Telling(DEFAULT, mariadb=True)
    assert {mariadb.tell(block) for block in (BEGIN, BEGIN_AGAIN, COMMIT, NEXT_READ_ONLY)} == {None}


def test_what_is_held_goes_with_the_next_ok_of_mysql() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    telling.hold(ZONE + MODE + STATE_CHANGE)
    telling.hold(AUTOCOMMIT)
    assert telling.due
    assert telling.tell(None) == AUTOCOMMIT + ZONE
    assert not telling.due
    assert telling.tell(None) is None
    telling.hold(ZONE)
    assert telling.tell(variable(b"time_zone", b"UTC") + schema(b"a")) == variable(b"time_zone", b"UTC") + schema(b"a")


def test_what_is_held_waits_on_mariadb_for_an_ok_that_tells_something() -> None:
    telling = Telling(DEFAULT, mariadb=True)
    telling.hold(ZONE + STATE_CHANGE)
    assert not telling.due
    assert telling.tell(None) is None
    assert telling.tell(MODE + STATE_CHANGE) is None
    assert telling.tell(AUTOCOMMIT + STATE_CHANGE) == ZONE + AUTOCOMMIT
    assert telling.tell(AUTOCOMMIT) == AUTOCOMMIT


def test_a_state_that_came_and_went_untold_is_not_told() -> None:
    telling = Telling(DEFAULT._replace(transaction_info=b"CHARACTERISTICS"), mariadb=False)
    telling.hold(state(b"I_R___S_"))
    assert telling.tell(IDLE) == b""
    telling.hold(state(b"I_R___S_"))
    assert telling.tell(schema(b"app")) == schema(b"app") + state(b"I_R___S_")
    assert telling.tell(IDLE) == IDLE


def test_a_transaction_of_the_proxy_is_not_held() -> None:
    telling = Telling(EVERYTHING, mariadb=True)
    telling.hold(ZONE + STATE_CHANGE + NO_CHARACTERISTICS, transactions=False)
    assert telling.tell(AUTOCOMMIT) == ZONE + AUTOCOMMIT + STATE_CHANGE


def test_a_new_session_has_nothing_held_and_no_transaction() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    telling.tell(BEGIN)
    telling.hold(ZONE)
    telling.begin_again(DEFAULT._replace(schema=b"0"))
    assert not telling.due
    assert telling.tell(schema(b"app")) is None
    assert telling.tell(BEGIN) == BEGUN


def test_an_empty_block_of_the_client_s_own_settings_is_its_own() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    telling.own = True
    assert telling.tell(b"") == b""


@pytest.mark.parametrize("block", [b"\x00", b"\x00\x05a", b"\x00\x02\x05a", b"\x05\x01\x09", b"\x09"])
def test_a_block_that_cannot_be_read_stays_as_it_is(block: bytes) -> None:
    telling = Telling(DEFAULT, mariadb=False)
    assert telling.tell(block) == block
    telling.hold(block)
    assert telling.tell(None) is None


# -- in replies -----------------------------------------------------------------------------------------------------

END = OkPart(header=0xFE, changes=ZONE + STATE_CHANGE)
REPLIES: list[tuple[Parts, Parts]] = [
    ([OkPart(changes=MODE)], [OkPart()]),
    ([OkPart(3, 7, warnings=1, info=b"Rows matched: 3", changes=ZONE + MODE)],
     [OkPart(3, 7, warnings=1, info=b"Rows matched: 3", changes=ZONE)]),
    ([OkPart(300, 70000, info=b"Records: 1", changes=MODE)], [OkPart(300, 70000, info=b"Records: 1")]),
    ([OkPart(changes=ZONE)], [OkPart(changes=ZONE)]),
    ([ResultSet(rows=(b"\x011",), end=END)], [ResultSet(rows=(b"\x011",), end=OkPart(header=0xFE, changes=ZONE))]),
    ([OkPart(changes=MODE), ResultSet(end=END), OkPart(1), OkPart(changes=STATE_CHANGE)],
     [OkPart(), ResultSet(end=OkPart(header=0xFE, changes=ZONE)), OkPart(1), OkPart()]),
]  # fmt: skip


def fed(data: bytes, cut: int, telling: Telling, *, eof: bool = False) -> tuple[bytes, Reply]:
    reply = Reply()
    reply.begin(FIRST, ClientForm(eof=eof, track=True, local_files=True, telling=telling))
    out = b"".join(bytes(reply.feed(chunk)) for chunk in chunks(data, [cut]))
    assert reply.done
    return out, reply


@pytest.mark.parametrize(("parts", "wanted"), REPLIES)
def test_replies_cut_at_each_byte(parts: Parts, wanted: Parts) -> None:
    data = server_bytes(parts)
    for cut in range(len(data)):
        out, reply = fed(data, cut, Telling(DEFAULT, mariadb=False))
        assert out == server_bytes(wanted)
        # The proxy itself learns all.
        ends = [part.end if isinstance(part, ResultSet) else part for part in parts]
        assert reply.changes == [end.changes for end in ends if isinstance(end, OkPart) and end.changes]


def test_an_ok_that_tells_nothing_of_its_own_tells_what_is_held() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    telling.hold(ZONE)
    assert fed(server_bytes([OkPart(1)]), 0, telling)[0] == server_bytes([OkPart(1, changes=ZONE)])
    assert fed(server_bytes([OkPart(1)]), 0, telling)[0] == server_bytes([OkPart(1)])


def test_an_eof_tells_nothing_and_so_the_next_ok_does() -> None:
    telling = Telling(DEFAULT, mariadb=False)
    rows = server_bytes([ResultSet(rows=(b"\x011",), end=END)])
    assert fed(rows, 0, telling, eof=True)[0].endswith(b"\x05\0\0\x05\xfe\0\0\x02\0")
    assert fed(server_bytes([OkPart()]), 0, telling, eof=True)[0] == server_bytes([OkPart(changes=ZONE)])
