"""Frames of the compressed protocol, whichever way they are cut, and those that lie about what is in them."""

from __future__ import annotations

import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.compression import MAX_BODY, WORTHWHILE, Algorithm, Frames, Zlib, Zstd
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import frame as packet

both = pytest.mark.parametrize("algorithm", [Zlib(), Zstd(3)], ids=["zlib", "zstd"])
REPETITIVE = st.binary(min_size=1, max_size=20).map(lambda piece: piece * 50)
CONTENTS = st.lists(st.one_of(st.binary(min_size=1, max_size=200), REPETITIVE))


def frame(body: bytes, size: int, sequence: int = 0) -> bytes:
    """Give a frame as it is on the wire."""
    return len(body).to_bytes(3, "little") + bytes((sequence,)) + size.to_bytes(3, "little") + body


def read(frames: Frames) -> list[bytes]:
    """Give what is whole."""
    contents = []
    while (content := frames.next()) is not None:
        contents.append(content)
    return contents


@both
@settings(deadline=None)
@given(contents=CONTENTS, cuts=st.lists(st.integers(0, 500)))
def test_whichever_way_they_are_cut(algorithm: Algorithm, contents: list[bytes], cuts: list[int]) -> None:
    sender, receiver = Frames(algorithm), Frames(algorithm)
    stream = b"".join(sender.wrap(content) for content in contents)
    assert sender.sequence == len(contents) & 0xFF
    got = []
    start = 0
    for end in [*sorted(cuts), len(stream)]:
        receiver.feed(stream[start:end])
        start = max(start, end)
        got += read(receiver)
    assert got == contents
    assert receiver.pending == 0
    assert receiver.sequence == sender.sequence


@both
def test_short_ones_are_not_compressed(algorithm: Algorithm) -> None:
    frames = Frames(algorithm)
    short, long = b"a" * (WORTHWHILE - 1), b"a" * WORTHWHILE
    assert frames.wrap(short) == frame(short, 0)
    assert frames.wrap(long) == frame(algorithm.compress(long), WORTHWHILE, 1)
    # Nor are those that grow by it.
    noise = bytes(range(256))
    assert frames.wrap(noise) == frame(noise, 0, 2)


@both
def test_long_ones_are_several_frames(algorithm: Algorithm) -> None:
    sender, receiver = Frames(algorithm), Frames(algorithm)
    data = b"abc" * 6_000_000
    receiver.feed(sender.wrap(data))
    contents = read(receiver)
    assert b"".join(contents) == data
    assert len(contents) > 256
    assert sender.sequence == receiver.sequence == len(contents) & 0xFF


@both
@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 300), min_size=1), cuts=st.lists(st.integers(0, 3000)))
def test_frames_end_where_packets_end(algorithm: Algorithm, sizes: list[int], cuts: list[int]) -> None:
    packets = [packet(b"a" * size) for size in sizes]
    stream = b"".join(packets)
    ends = {sum(map(len, packets[: count + 1])) for count in range(len(packets))}
    sender, receiver = Frames(algorithm), Frames(algorithm)
    start = got = 0
    for end in [*sorted(cuts), len(stream)]:
        receiver.feed(sender.wrap_packets(stream[start:end]))
        start = max(start, end)
        for content in read(receiver):
            assert stream[got:].startswith(content)
            got += len(content)
            assert got in ends
    assert got == len(stream)


def test_the_longest_packet_is_in_two_frames() -> None:
    sender, receiver = Frames(Zlib()), Frames(Zlib())
    longest = packet(bytes(MAX_BODY))[: 4 + MAX_BODY]
    assert sender.wrap_packets(longest[:-1]) == b""
    receiver.feed(sender.wrap_packets(longest[-1:]))
    assert [len(content) for content in read(receiver)] == [MAX_BODY, 4]


def test_a_reply_is_numbered_after_its_command() -> None:
    frames = Frames(Zlib())
    frames.feed(frame(b"one", 0) + frame(b"two", 0, 1) + frame(b"next", 0))
    assert frames.next() == b"one"
    assert frames.next() == b"two"
    assert frames.wrap(b"reply") == frame(b"reply", 0, 2)
    assert frames.wrap(b"more") == frame(b"more", 0, 3)
    assert frames.next() == b"next"
    assert frames.wrap(b"reply") == frame(b"reply", 0, 1)


@both
@pytest.mark.parametrize("told", [99, 101, 1, MAX_BODY])
def test_a_length_that_lies(algorithm: Algorithm, told: int) -> None:
    frames = Frames(algorithm)
    frames.feed(frame(algorithm.compress(b"a" * 100), told))
    with pytest.raises(ProtocolError):
        frames.next()


@both
def test_a_bomb(algorithm: Algorithm) -> None:
    """A body that grows without end is read no further than a byte past what its header says."""
    bomb = algorithm.compress(b"\0" * (8 << 20))
    assert len(algorithm.decompress(bomb, 1000)) == 1001
    frames = Frames(algorithm)
    frames.feed(frame(bomb, 1000))
    with pytest.raises(ProtocolError):
        frames.next()


def test_a_window_larger_than_any_frame() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(b"a" * 100) + compressor.flush()
    with pytest.raises(ProtocolError):
        Zstd(3).decompress(body, 100)


@both
@pytest.mark.parametrize("body", [b"x" * 60, b"", zlib.compress(b"a" * 100)[:-9], zstandard.compress(b"a" * 100)[:-3]])
def test_a_body_that_cannot_be_read(algorithm: Algorithm, body: bytes) -> None:
    frames = Frames(algorithm)
    frames.feed(frame(body, 100))
    with pytest.raises(ProtocolError):
        frames.next()


@pytest.mark.parametrize("sequence", [1, 2, 255])
def test_out_of_order(sequence: int) -> None:
    frames = Frames(Zlib())
    frames.feed(frame(b"first", 0, sequence))
    with pytest.raises(ProtocolError, match="sequence id"):
        frames.next()


@pytest.mark.parametrize(("level", "used"), [(0, 3), (1, 1), (22, 22), (23, 3), (255, 3)])
def test_levels(level: int, used: int) -> None:
    assert Zstd(level).level == used
