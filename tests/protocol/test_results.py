"""Replies to the proxy's own commands, read whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.results import Result, number, read_result
from tests.protocol import strategies
from tests.protocol.replies import ErrPart, OkPart, Part, ResultSet, Upload, expected, server_bytes, string

values = st.one_of(st.none(), st.binary(max_size=20), st.binary(min_size=250, max_size=260))
tables = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[values] * width), max_size=6))


def row(cells: tuple[bytes | None, ...]) -> bytes:
    """Write a row of text."""
    return b"".join(b"\xfb" if cell is None else string(cell) for cell in cells)


@settings(deadline=None)
@given(st.lists(st.tuples(tables, strategies.ends), min_size=1, max_size=3))
def test_rows_of_all_result_sets(results: list[tuple[list[tuple[bytes | None, ...]], OkPart]]) -> None:
    parts: list[Part] = [ResultSet(rows=tuple(row(cells) for cells in table), end=end) for table, end in results]
    wanted = expected(parts, strategies.FORMS[0])
    result = read_result(server_bytes(parts))
    assert result.rows == [cells for table, _ in results for cells in table]
    assert (result.status, result.changes, result.err) == (wanted.status, wanted.changes, None)


@settings(deadline=None)
@given(strategies.oks(), strategies.errs)
def test_an_ok_and_an_error(ok: OkPart, err: ErrPart) -> None:
    result = read_result(server_bytes([ok, err]))
    assert result.rows == []
    assert result.changes == ([ok.changes] if ok.changes else [])
    assert result.err == Err(err.code, "42000", err.message.decode("utf-8", "replace"))


def test_an_error_after_rows() -> None:
    result = read_result(server_bytes([ResultSet(rows=(b"\x011",), end=ErrPart(1317, b"interrupted"))]))
    assert result.rows == [(b"1",)]
    assert result.err == Err(1317, "42000", "interrupted")


def test_an_old_eof() -> None:
    assert read_result(b"\x05\0\0\x01\xfe\0\0\x03\0") == Result(status=3)


chains = strategies.chains().filter(lambda parts: not any(isinstance(part, Upload) for part in parts))


@settings(deadline=None, max_examples=300)
@given(chains, st.integers(0, 2000), st.binary(max_size=3))
def test_damaged_replies(parts: list[Part], position: int, new: bytes) -> None:
    data = server_bytes(parts)
    for damaged in (data[:position], data[:position] + new + data[position + len(new) :]):
        try:
            read_result(damaged)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\0\0\x01\x02" + b"\x04\0\0\x02\x03def",  # a column is missing
        b"\x00\0\0\x01",
        b"\xff\xff\xff\x01",
        b"\x01\0\0",
        b"\x05\0\0\x01\0",
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_result(data)


def test_rows_of_another_shape_than_was_asked_for() -> None:
    result = Result(rows=[(b"1", b"2")])
    assert result.row(2) == (b"1", b"2")
    assert result.table(2) == [(b"1", b"2")]
    assert Result().table(2) == []
    for rows in ([], [(b"1",)], [(b"1", b"2")] * 2):
        with pytest.raises(ProtocolError):
            Result(rows=list[tuple[bytes | None, ...]](rows)).row(2)
    with pytest.raises(ProtocolError):
        Result(rows=[(b"1", b"2"), (b"1",)]).table(2)


def test_numbers() -> None:
    assert (number(b"12"), number(None), number(b"0", 7), number(None, 7)) == (12, 0, 7, 7)
    for value in (b"x", b"1.5", b"\xff"):
        with pytest.raises(ProtocolError):
            number(value)
