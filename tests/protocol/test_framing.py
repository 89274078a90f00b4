"""Packets out of a stream, and uploads followed to their end, however the bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import MAX_PAYLOAD, PacketReader, TooBigError, UploadReader, frame
from tests.protocol.replies import FULL

LIMIT = 1000


def packets(payloads: Sequence[bytes], sequence: int = 0) -> bytes:
    """Write packets, one for each payload, whatever its length."""
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([(sequence + number) % 256]) + payload
        for number, payload in enumerate(payloads)
    )


def read_all(reader: PacketReader, chunks: Sequence[bytes]) -> list[bytes]:
    """Give all the payloads in the chunks."""
    payloads = []
    for chunk in chunks:
        reader.feed(chunk)
        while (payload := reader.next()) is not None:
            payloads.append(payload)
    return payloads


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut `data` at these positions."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# -- frame -------------------------------------------------------------------------------------------------------------


def test_the_limit_is_the_largest_number_of_three_bytes() -> None:
    assert MAX_PAYLOAD == FULL


@pytest.mark.parametrize("sequence", [0, 1, 255, 256, 300])
def test_a_small_payload_is_one_packet(sequence: int) -> None:
    assert frame(b"abc", sequence) == b"\x03\0\0" + bytes([sequence % 256]) + b"abc"
    assert frame(b"", sequence) == b"\0\0\0" + bytes([sequence % 256])


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (FULL - 1, [FULL - 1]),
        (FULL, [FULL, 0]),
        (FULL + 1, [FULL, 1]),
        (2 * FULL - 1, [FULL, FULL - 1]),
        (2 * FULL, [FULL, FULL, 0]),
    ],
)
def test_large_payloads_span_packets(size: int, lengths: list[int]) -> None:
    payload = b"<" + bytes(size - 2) + b">"
    framed = frame(payload, 254)
    position, pieces = 0, []
    for number, length in enumerate(lengths):
        header = framed[position : position + 4]
        assert header == length.to_bytes(3, "little") + bytes([(254 + number) % 256])
        pieces.append(framed[position + 4 : position + 4 + length])
        position += 4 + length
    assert position == len(framed)
    assert b"".join(pieces) == payload

    reader = PacketReader(size)
    reader.sequence = 254
    # Cuts around each header, where a reader would go wrong.
    edges = [edge + offset for edge in (0, FULL + 4, 2 * FULL + 8) for offset in (1, 3, 4, 5)]
    assert read_all(reader, cut(framed, edges)) == [payload]
    assert reader.pending == 0
    assert reader.sequence == (254 + len(lengths)) % 256


# -- PacketReader ------------------------------------------------------------------------------------------------------

some_payloads = st.lists(st.binary(max_size=40), max_size=6)


@settings(deadline=None)
@given(some_payloads, st.integers(0, 255))
def test_payloads_cut_at_each_byte(payloads: list[bytes], sequence: int) -> None:
    data = packets(payloads, sequence)
    for position in range(len(data) + 1):
        reader = PacketReader(LIMIT)
        reader.sequence = sequence
        assert read_all(reader, [data[:position], data[position:]]) == payloads
        assert reader.pending == 0


@settings(deadline=None)
@given(some_payloads, st.lists(st.integers(0, 300), max_size=30), st.binary(max_size=3))
def test_payloads_cut_anywhere_and_the_rest(payloads: list[bytes], cuts: list[int], rest: bytes) -> None:
    data = packets(payloads) + rest
    reader = PacketReader(LIMIT)
    assert read_all(reader, cut(data, cuts)) == payloads
    assert reader.pending == len(rest)
    assert reader.take_rest() == rest
    assert reader.pending == 0
    assert reader.take_rest() == b""


def test_sequence_ids_begin_again_behind_255() -> None:
    payloads = [bytes([number % 256]) for number in range(600)]
    assert read_all(PacketReader(LIMIT), [packets(payloads)]) == payloads


@pytest.mark.parametrize("wrong", [1, 2, 255])
def test_a_wrong_sequence_id_is_refused_at_the_header(wrong: int) -> None:
    reader = PacketReader(LIMIT)
    reader.feed(b"\x05\0\0" + bytes([wrong]))
    with pytest.raises(ProtocolError, match=f"sequence id {wrong} where 0"):
        reader.next()


def test_a_repeated_sequence_id_is_refused() -> None:
    reader = PacketReader(LIMIT)
    reader.feed(packets([b"a"]) * 2)
    assert reader.next() == b"a"
    with pytest.raises(ProtocolError, match="sequence id 0 where 1"):
        reader.next()


def test_a_payload_at_the_limit_is_taken_and_one_above_it_refused_at_its_header() -> None:
    reader = PacketReader(10)
    reader.feed(packets([bytes(10)]))
    assert reader.next() == bytes(10)
    reader.feed(b"\x0b\0\0\x01")
    with pytest.raises(TooBigError, match="11 bytes"):
        reader.next()


def test_the_limit_holds_for_the_sum_of_the_packets_of_a_payload() -> None:
    reader = PacketReader(FULL + 9)
    reader.feed(packets([bytes(FULL)]) + b"\x0a\0\0\x01")
    with pytest.raises(TooBigError, match=f"{FULL + 10} bytes"):
        reader.next()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_are_payloads_or_a_protocol_error(chunks: list[bytes]) -> None:
    reader = PacketReader(LIMIT)
    try:
        payloads = read_all(reader, chunks)
    except ProtocolError:
        return
    assert packets(payloads) + reader.take_rest() == b"".join(chunks)


# -- UploadReader ------------------------------------------------------------------------------------------------------

files = st.lists(st.binary(min_size=1, max_size=20), max_size=6)


def follow(shift: int, chunks: Sequence[bytes], sequence: int = 0) -> tuple[UploadReader, bytes]:
    """Feed the chunks up to the end of the file, and the rest of them as they are."""
    reader = UploadReader(shift, sequence)
    out = b""
    for number, chunk in enumerate(chunks):
        out += reader.feed(chunk)
        if reader.done:
            reader.rest += b"".join(chunks[number + 1 :])
            break
    return reader, out


@settings(deadline=None)
@given(files, st.integers(-3, 3), st.integers(0, 255), st.binary(max_size=20))
def test_an_upload_cut_at_each_byte(file: list[bytes], shift: int, sequence: int, rest: bytes) -> None:
    data = packets([*file, b""], sequence)
    for position in range(len(data + rest) + 1):
        reader, out = follow(shift, [(data + rest)[:position], (data + rest)[position:]], sequence)
        assert out == packets([*file, b""], sequence + shift)
        assert (reader.done, reader.packets, reader.rest) == (True, len(file) + 1, rest)
        assert reader.next_sequence == (sequence + len(file) + 1) % 256


@settings(deadline=None)
@given(files, st.integers(-3, 3), st.lists(st.integers(0, 200), max_size=40))
def test_an_upload_cut_anywhere(file: list[bytes], shift: int, cuts: list[int]) -> None:
    reader, out = follow(shift, cut(packets([*file, b""]), cuts))
    assert (out, reader.done) == (packets([*file, b""], shift), True)


def test_an_upload_is_not_over_before_its_empty_packet() -> None:
    reader, out = follow(1, [packets([b"abc"] * 300)])
    assert not reader.done
    assert reader.packets == 300
    assert out == packets([b"abc"] * 300, 1)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_an_upload_out_of_order_is_refused(size: int) -> None:
    data = packets([b"abc"], 2) + packets([b"def", b""], 4)
    reader = UploadReader(0, 2)
    with pytest.raises(ProtocolError, match="sequence id 4, not 3"):
        follow_all(reader, data, size)


def follow_all(reader: UploadReader, data: bytes, size: int) -> None:
    """Feed all of `data` in chunks."""
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])


def test_an_upload_is_handed_on_as_it_comes() -> None:
    reader = UploadReader(0, 0)
    data = packets([bytes(100_000), b""])
    for start in range(0, 100_000, 1000):
        assert len(reader.feed(data[start : start + 1000])) == 1000


def test_an_empty_packet_that_ends_a_full_one_does_not_end_the_upload() -> None:
    data = packets([bytes(FULL), b"", b"more", bytes(FULL), b"x", b""], 1)
    edges = [FULL + 4 + offset for offset in (-1, 0, 2, 4, 5)]
    reader, out = follow(-1, [*cut(data, edges), b"rest"], 1)
    assert (reader.done, reader.packets, reader.rest) == (True, 6, b"rest")
    assert out == packets([bytes(FULL), b"", b"more", bytes(FULL), b"x", b""], 0)
