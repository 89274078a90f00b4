"""Query attributes in COM_QUERY and COM_STMT_EXECUTE."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

from rdsproxy.protocol.attributes import NONE, split_execution, split_query, with_attributes, with_count
from rdsproxy.protocol.datatypes import lenenc_bytes, lenenc_int
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, frame

HEAD = b"\x17\x01\x02\x03\x04"
ITERATIONS = b"\1\0\0\0"
CURSOR = 1
COUNTED = 8


@dataclass(frozen=True)
class Value:
    """A parameter or an attribute; `value` is as in the binary protocol, None for NULL."""

    kind: int
    value: bytes | None
    name: bytes = b""

    @property
    def type(self) -> bytes:
        return bytes((self.kind, 0x80))


def nulls(values: list[Value]) -> bytes:
    mask = sum(1 << position for position, one in enumerate(values) if one.value is None)
    return mask.to_bytes((len(values) + 7) // 8, "little")


def block(values: list[Value]) -> bytes:
    """Give what stands in front of a text."""
    if not values:
        return NONE
    return lenenc_int(len(values)) + b"\1" + counted(values)


def counted(values: list[Value], types: bool = True) -> bytes:
    """Give what follows the counts."""
    told = b"".join(one.type + lenenc_bytes(one.name) for one in values) if types else b""
    return nulls(values) + bytes((types,)) + told + b"".join(one.value or b"" for one in values)


def plain(values: list[Value], flags: int, types: bool = True) -> bytes:
    """Give a COM_STMT_EXECUTE without the capability."""
    head = HEAD + bytes((flags,)) + ITERATIONS
    if not values:
        return head
    told = b"".join(one.type for one in values) if types else b""
    return head + nulls(values) + bytes((types,)) + told + b"".join(one.value or b"" for one in values)


def fixed(kind: int, layout: str) -> st.SearchStrategy[Value]:
    size = struct.calcsize(layout)
    return st.builds(Value, st.just(kind), st.binary(min_size=size, max_size=size) | st.none(), names)


texts = st.binary(max_size=40) | st.binary(min_size=251, max_size=260)
names = st.just(b"") | texts
values = st.one_of(
    fixed(FIELD_TYPE.TINY, "<b"),
    fixed(FIELD_TYPE.SHORT, "<h"),
    fixed(FIELD_TYPE.LONG, "<i"),
    fixed(FIELD_TYPE.LONGLONG, "<q"),
    fixed(FIELD_TYPE.FLOAT, "<f"),
    fixed(FIELD_TYPE.DOUBLE, "<d"),
    st.builds(
        Value,
        st.sampled_from([FIELD_TYPE.DATE, FIELD_TYPE.TIME, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP]),
        st.binary(max_size=12).map(lenenc_bytes) | st.none(),
        names,
    ),
    st.builds(
        Value,
        st.sampled_from([FIELD_TYPE.VAR_STRING, FIELD_TYPE.BLOB, FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.JSON]),
        texts.map(lenenc_bytes) | st.none(),
        names,
    ),
    st.builds(Value, st.just(FIELD_TYPE.NULL), st.none(), names),
)
lists = st.lists(values, max_size=3) | st.lists(values, min_size=8, max_size=9)
nameless = st.lists(values.map(lambda one: Value(one.kind, one.value)), max_size=10)
# Each of them is cut at each of its bytes.
patiently = settings(deadline=None, max_examples=30)
FLAGS = st.sampled_from([0, CURSOR])


@given(lists, st.binary(max_size=20))
def test_a_query(attributes: list[Value], text: bytes) -> None:
    payload = b"\x03" + block(attributes) + text
    assert split_query(payload) == (block(attributes), text)
    assert with_attributes(frame(b"\x03" + text), block(attributes)) == frame(payload)


@patiently
@given(lists.filter(bool))
def test_a_query_cut_short(attributes: list[Value]) -> None:
    """In the midst of its attributes: the rest would be taken for its text."""
    payload = b"\x03" + block(attributes)
    for size in range(1, len(payload)):
        with pytest.raises(ProtocolError):
            split_query(payload[:size])


@given(st.binary(max_size=60))
def test_a_query_of_anything(rest: bytes) -> None:
    try:
        attributes, text = split_query(b"\x03" + rest)
    except ProtocolError:
        return
    assert attributes + text == rest


@pytest.mark.parametrize(
    "payload",
    [
        b"\x03\0\0SELECT 1",
        b"\x03\0\2SELECT 1",
        b"\x03\1\1\0\0SELECT 1",
        b"\x03\1\1\0\1\xf4\0\2n1\1SELECT 1",
        b"\x03\1\1\0\1\x09\0\2n1\3abcSELECT 1",
        b"\x03\1\1\0\1\xfe\0\2n1\xfbSELECT 1",
        b"\x03\xfe" + b"\xff" * 8 + b"\1\0\1\xfe\0\2n1\3abcSELECT 1",
    ],
    ids=["no set", "two sets", "no types", "BOOL", "INT24", "NULL in place of a length", "more than there can be"],
)
def test_a_query_that_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        split_query(payload)


@pytest.mark.parametrize("size", [MAX_PAYLOAD - 4, MAX_PAYLOAD - 3, MAX_PAYLOAD - 2, MAX_PAYLOAD, 2 * MAX_PAYLOAD])
def test_a_query_that_takes_more_than_one_packet(size: int) -> None:
    text = bytes(size)
    packets = with_attributes(frame(b"\x03" + text), NONE)
    assert packets == frame(b"\x03" + NONE + text)
    assert len(packets) == 1 + 2 + size + HEADER_SIZE * ((1 + 2 + size) // MAX_PAYLOAD + 1)


def test_other_commands_have_none() -> None:
    for payload in (b"\x16SELECT 1", b"\x02app", b"\x0e"):
        assert with_attributes(frame(payload), NONE) == frame(payload)


@given(nameless, FLAGS)
def test_an_execution_without_attributes(parameters: list[Value], flags: int) -> None:
    count = len(parameters)
    with_types = plain(parameters, flags)
    payload = with_count(with_types, count)
    if count:
        assert payload == HEAD + bytes((flags | COUNTED,)) + ITERATIONS + lenenc_int(count) + counted(parameters)
        assert split_execution(payload, count) == (with_types, payload)
        # Servers do not ask for the flag where there are parameters.
        assert split_execution(HEAD + bytes((flags,)) + payload[6:], count)[0] == with_types
    else:
        assert payload == with_types
        assert split_execution(payload, 0) == (payload, None)
        assert split_execution(HEAD + bytes((flags | COUNTED,)) + ITERATIONS + b"\0", 0) == (payload, None)
        assert with_count(plain([], flags | COUNTED), 0) == payload


@given(nameless.filter(bool), FLAGS)
def test_an_execution_without_types(parameters: list[Value], flags: int) -> None:
    count = len(parameters)
    without = plain(parameters, flags, types=False)
    payload = with_count(without, count)
    told = lenenc_int(count) + counted(parameters, types=False)
    assert payload == HEAD + bytes((flags | COUNTED,)) + ITERATIONS + told
    assert split_execution(payload, count) == (without, None)


@given(lists, lists, FLAGS)
def test_an_execution_with_attributes(parameters: list[Value], attributes: list[Value], flags: int) -> None:
    """The proxy reads types and NULLs of the parameters; what the server gets is what the client has sent."""
    count, both = len(parameters), parameters + attributes
    payload = HEAD + bytes((flags | COUNTED,)) + ITERATIONS + lenenc_int(len(both))
    payload += counted(both) if both else b""
    found, as_sent = split_execution(payload, count)
    assert as_sent == (payload if both else None)
    expected = plain(parameters, flags)
    if not parameters:
        assert found == expected
        return
    bits = 10 + (count + 7) // 8
    assert found.startswith(expected[:10])
    mask = (1 << count) - 1
    assert int.from_bytes(found[10:bits], "little") & mask == int.from_bytes(expected[10:bits], "little")
    assert found[bits:] == expected[bits:] + b"".join(one.value or b"" for one in attributes)


@patiently
@given(lists.filter(bool), st.integers(0, 3), FLAGS)
def test_an_execution_cut_short(parameters: list[Value], count: int, flags: int) -> None:
    """Never anything but ProtocolError, up to the values: those are the server's to read."""
    count = min(count, len(parameters))
    payload = HEAD + bytes((flags | COUNTED,)) + ITERATIONS + lenenc_int(len(parameters)) + counted(parameters)
    end = len(payload) - sum(len(one.value or b"") for one in parameters)
    for size in range(end):
        with pytest.raises(ProtocolError):
            split_execution(payload[:size], count)


@given(nameless, FLAGS)
def test_an_execution_that_was_cut_short_before_is_so_afterwards(parameters: list[Value], flags: int) -> None:
    whole = plain(parameters, flags)
    end = len(whole) - sum(len(one.value or b"") for one in parameters)
    for size in range(5, end):
        assert len(with_count(whole[:size], len(parameters))) < len(with_count(whole[:end], len(parameters)))


@given(st.binary(max_size=60), st.integers(0, 9))
def test_an_execution_of_anything(rest: bytes, count: int) -> None:
    payload = HEAD + rest
    try:
        found, as_sent = split_execution(payload, count)
    except ProtocolError:
        return
    assert as_sent in (None, payload)
    assert found.startswith(HEAD)
    with_count(found, count)
