"""Length-encoded integers, strings and fixed fields."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdsproxy.protocol.datatypes import (
    lenenc_bytes,
    lenenc_int,
    nul_bytes,
    read_fixed_bytes,
    read_fixed_int,
    read_lenenc_bytes,
    read_lenenc_int,
    read_nul_bytes,
)
from rdsproxy.protocol.errors import ProtocolError

VECTORS = [
    (0, "00"),
    (250, "fa"),
    (251, "fcfb00"),
    (65535, "fcffff"),
    (65536, "fd000001"),
    (2**24 - 1, "fdffffff"),
    (2**24, "fe0000000100000000"),
    (2**64 - 1, "feffffffffffffffff"),
]


@pytest.mark.parametrize(("value", "encoded"), VECTORS)
def test_lenenc_int_at_each_border(value: int, encoded: str) -> None:
    assert lenenc_int(value).hex() == encoded
    assert read_lenenc_int(bytes.fromhex("00" + encoded + "ff"), 1) == (value, 1 + len(encoded) // 2)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_lenenc_int_out_of_range(value: int) -> None:
    with pytest.raises(OverflowError):
        lenenc_int(value)


@pytest.mark.parametrize("first", [0xFB, 0xFF])
def test_null_and_error_headers_are_no_integers(first: int) -> None:
    with pytest.raises(ProtocolError, match=f"0x{first:02X}"):
        read_lenenc_int(bytes((first,)) + bytes(8), 0)


@given(st.binary(max_size=300), st.binary(max_size=5))
def test_lenenc_bytes_round_trip(value: bytes, rest: bytes) -> None:
    encoded = lenenc_bytes(value)
    assert read_lenenc_bytes(encoded + rest, 0) == (value, len(encoded))
    assert read_lenenc_bytes(bytearray(encoded + rest), 0) == (value, len(encoded))


@given(st.binary(max_size=40).filter(lambda value: b"\0" not in value), st.binary(max_size=5))
def test_nul_bytes_round_trip(value: bytes, rest: bytes) -> None:
    assert read_nul_bytes(nul_bytes(value) + rest, 0) == (value, len(value) + 1)


def test_a_nul_inside_cannot_start_another_field() -> None:
    with pytest.raises(ProtocolError, match="NUL inside"):
        nul_bytes(b"app\0\0evil")


def test_fixed_fields() -> None:
    assert read_fixed_int(b"\0\x01\x02\x03", 1, 2) == (0x0201, 3)
    assert read_fixed_bytes(bytearray(b"abcd"), 1, 3) == (b"bcd", 4)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (lambda data: read_lenenc_int(data, 0), b"\xfc\x01\x02"),
        (lambda data: read_lenenc_int(data, 0), b"\xfd\x01\x02\x03"),
        (lambda data: read_lenenc_int(data, 0), b"\xfe" + bytes(8)),
        (lambda data: read_lenenc_bytes(data, 0), b"\x03abc"),
        (lambda data: read_nul_bytes(data, 0), b"abc\0"),
        (lambda data: read_fixed_bytes(data, 0, 4), b"abcd"),
        (lambda data: read_fixed_int(data, 0, 4), b"abcd"),
    ],
)
def test_truncation_at_each_byte(read: Callable[[bytes], object], data: bytes) -> None:
    read(data)
    for size in range(len(data)):
        with pytest.raises(ProtocolError, match="packet ends"):
            read(data[:size])
