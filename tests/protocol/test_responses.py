"""OK, ERR and EOF payloads, and what real servers put into session-track blocks."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.responses import Err, Ok, build_eof, build_ok, parse_changes, parse_err, parse_ok
from tests.protocol import strategies
from tests.protocol.replies import STATE_CHANGED, OkPart, ok_payload

MARIADB_SET_NAMES = bytes.fromhex(
    "001e156368617261637465725f7365745f726573756c747307757466386d6234001d146368617261637465725f7365745f636c69656e740775"
    "7466386d62340021186368617261637465725f7365745f636f6e6e656374696f6e07757466386d6234020131"
)
BEGIN_SERIALIZABLE = bytes.fromhex(
    "050908545f5f5f5f5f5f5f044140534554205452414e53414354494f4e2049534f4c4154494f4e204c4556454c2053455249414c495a41424c"
    "453b205354415254205452414e53414354494f4e3b"
)
BLOCKS = [
    (MARIADB_SET_NAMES, [
        (0, b"character_set_results", b"utf8mb4"),
        (0, b"character_set_client", b"utf8mb4"),
        (0, b"character_set_connection", b"utf8mb4"),
        (2, b"", b"1"),
    ]),
    (BEGIN_SERIALIZABLE, [
        (5, b"", b"T_______"),
        (4, b"", b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION;"),
    ]),
    (bytes.fromhex("010403617070020131"), [(1, b"", b"app"), (2, b"", b"1")]),
    (bytes.fromhex("020131"), [(2, b"", b"1")]),
    (bytes.fromhex("0509085f5f5f5f5f5f5f4c"), [(5, b"", b"_______L")]),
    (bytes.fromhex("0509085f5f5f5f5f5f5f5f040100"), [(5, b"", b"________"), (4, b"", b"")]),
    (bytes.fromhex("0017156368617261637465725f7365745f726573756c747300020131"), [
        (0, b"character_set_results", b""),
        (2, b"", b"1"),
    ]),
    (b"\x03\x04\x00abc", [(3, b"", b"abc")]),  # GTIDs: an encoding byte, then the text
    (b"", []),
]  # fmt: skip


@pytest.mark.parametrize(("block", "changes"), BLOCKS)
def test_blocks_of_real_servers(block: bytes, changes: list[tuple[int, bytes, bytes]]) -> None:
    assert list(parse_changes(block)) == changes


def test_a_name_that_no_variable_has() -> None:
    # It would become part of a statement.
    for name in (b"", b"a b", b"a=1, b", b"a`", b"\xc3\xa9"):
        data = bytes([len(name)]) + name + b"\x011"
        with pytest.raises(ProtocolError):
            parse_changes(b"\0" + bytes([len(data)]) + data)


@pytest.mark.parametrize("block", [block for block, _ in BLOCKS if block])
def test_a_block_cut_at_each_byte(block: bytes) -> None:
    whole = list(parse_changes(block))
    for size in range(len(block)):
        try:
            changes = list(parse_changes(block[:size]))
        except ProtocolError:
            continue
        assert changes == whole[: len(changes)]  # it was cut between two changes
        assert len(changes) < len(whole)


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.binary(max_size=40), st.sampled_from([block for block, _ in BLOCKS]).flatmap(
    lambda block: st.builds(
        lambda at, new: block[:at] + new + block[at + len(new) :], st.integers(0, len(block)), st.binary(max_size=3)
    )
)))
def test_any_block_is_read_or_a_protocol_error(block: bytes) -> None:
    try:
        changes = parse_changes(block)
    except ProtocolError:
        return
    assert sum(len(name) + len(value) for _, name, value in changes) <= len(block)


# -- OK ----------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.one_of(strategies.oks(), strategies.oks(0xFE)), st.booleans())
def test_an_ok_is_read_and_written_as_servers_do(part: OkPart, more: bool) -> None:
    payload = ok_payload(part, more)
    ok = parse_ok(payload)
    status = int.from_bytes(ok.status.to_bytes(2, "little"), "little")
    assert status & STATE_CHANGED == (STATE_CHANGED if part.changes else 0)
    assert (ok.affected_rows, ok.insert_id, ok.warnings) == (part.affected, part.insert_id, part.warnings)
    assert (ok.info, ok.changes) == (part.info, part.changes)
    assert build_ok(ok, header=part.header) == payload
    assert build_ok(ok.with_changes(None), header=part.header) == ok_payload(part, more, track=False)
    for changes in (b"", b"\x02\x011"):
        assert parse_ok(build_ok(ok.with_changes(changes))) == ok.with_changes(changes)
        assert ok.with_changes(changes).status & STATE_CHANGED


@settings(deadline=None)
@given(strategies.oks())
def test_an_ok_cut_at_each_byte(part: OkPart) -> None:
    payload = ok_payload(part, more=False)
    whole = parse_ok(payload)
    for size in range(1, len(payload)):
        try:
            ok = parse_ok(payload[:size])
        except ProtocolError:
            continue
        # Cut between two fields, of which the later ones are optional.
        assert (ok.info, ok.changes) in ((b"", b""), (whole.info, b""))


@settings(deadline=None, max_examples=300)
@given(st.binary(min_size=1, max_size=30))
def test_any_payload_is_an_ok_or_a_protocol_error(payload: bytes) -> None:
    try:
        ok = parse_ok(payload)
    except ProtocolError:
        return
    assert 0 <= ok.status <= 0xFFFF


def test_an_ok_of_the_proxy_itself() -> None:
    assert build_ok(Ok(0, 0, 2, 0)) == bytes.fromhex("00000002000000")
    assert build_ok(Ok(0, 0, 2, 0), header=0xFE) == bytes.fromhex("fe000002000000")
    assert build_eof(1, 2 | STATE_CHANGED) == bytes.fromhex("fe01000200")


# -- ERR ---------------------------------------------------------------------------------------------------------------


def test_an_err_is_read_and_written() -> None:
    payload = b"\xff\x15\x04#28000Access denied for user 'app'@'127.0.0.1' (using password: YES)"
    err = parse_err(payload)
    assert err == Err(1045, "28000", "Access denied for user 'app'@'127.0.0.1' (using password: YES)")
    assert err.build() == payload


def test_an_err_before_the_handshake_has_no_state() -> None:
    assert parse_err(b"\xff\x10\x04Too many connections") == Err(1040, "HY000", "Too many connections")
    assert parse_err(b"\xff\x10\x04") == Err(1040, "HY000", "")
    assert parse_err(b"\xff\x10\x04#1234") == Err(1040, "HY000", "#1234")


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff\x10", b"\0\0\0\x02\0\0\0"])
def test_what_is_not_an_err(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_err(payload)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=30))
@example(b"\x10\x04#\xe9\xe9\xe9\xe9\xe9text")
def test_any_err_can_be_told_to_a_client(rest: bytes) -> None:
    try:
        err = parse_err(b"\xff" + rest)
    except ProtocolError:
        return
    # Servers' errors are passed on, so whatever a server wrote must be writable.
    assert parse_err(err.build()) == err
