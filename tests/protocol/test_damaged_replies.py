"""What no server sends ends in a ProtocolError, and in nothing else; large rows arrive whole."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.reply import FIRST, PREPARED, ROWS, STATISTICS, UPLOADING, ClientForm, Reply
from tests.protocol import strategies
from tests.protocol.replies import (
    FULL,
    ErrPart,
    Form,
    OkPart,
    Part,
    Prepared,
    ResultSet,
    Text,
    Upload,
    expected,
    server_bytes,
    server_pieces,
)

STATES = [FIRST, ROWS, PREPARED, STATISTICS]
END = OkPart(header=0xFE)


def client_form(form: Form) -> ClientForm:
    """Give the form in the words of the code under test."""
    return ClientForm(form.eof, form.track, form.local_files)


def survive(state: int, form: Form, chunks: Iterable[bytes]) -> None:
    """Feed the chunks: they are a reply, the beginning of one, or a ProtocolError."""
    reply = Reply()
    reply.begin(state, client_form(form))
    taken = given_out = 0
    for chunk in chunks:
        taken += len(chunk)
        try:
            given_out += len(reply.feed(chunk))
        except ProtocolError:
            return
        # A packet becomes at most an EOF longer than it was, or the error for a refused upload.
        assert given_out <= 4 * taken + 200
        if reply.refuses_upload:
            reply.refused_upload()
        elif reply.state == UPLOADING:
            reply.uploaded(1)
        if reply.done:
            return


def feed_all(reply: Reply, chunks: Iterable[bytes]) -> None:
    """Feed the chunks, whatever comes of them."""
    for chunk in chunks:
        reply.feed(chunk)


def pieces_of(data: bytes, size: int) -> list[bytes]:
    """Cut `data` into chunks of `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


any_form = st.sampled_from(strategies.FORMS)
any_state = st.sampled_from(STATES)


@settings(deadline=None, max_examples=500)
@given(any_state, any_form, st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes(state: int, form: Form, chunks: list[bytes]) -> None:
    survive(state, form, chunks)


headers = st.builds(
    lambda length, sequence, first: length.to_bytes(3, "little") + bytes([sequence]) + first,
    st.one_of(st.integers(0, 20), st.sampled_from([FULL - 1, FULL])),
    st.integers(0, 255),
    st.sampled_from([b"", b"\0", b"\x01", b"\xfb", b"\xfc", b"\xfd", b"\xfe", b"\xff"]),
)


@settings(deadline=None, max_examples=500)
@given(any_state, any_form, st.lists(st.one_of(headers, st.binary(max_size=20)), max_size=12), st.integers(1, 50))
def test_any_packets(state: int, form: Form, packets: list[bytes], size: int) -> None:
    survive(state, form, pieces_of(b"".join(packets), size))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[int, bytes]:
    """A reply in which some bytes are others, or missing, or too many."""
    kinds: list[tuple[int, st.SearchStrategy[list[Part]]]] = [
        (FIRST, strategies.chains()),
        (ROWS, strategies.uncounted),
        (PREPARED, strategies.prepared),
        (STATISTICS, strategies.statistics),
    ]
    state, replies = draw(st.sampled_from(kinds))
    data = bytearray(b"".join(server_pieces(draw(replies))))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 4))
        data[position : position + size] = draw(st.binary(max_size=4))
    return state, bytes(data)


@settings(deadline=None, max_examples=1000)
@given(damaged(), any_form, st.integers(1, 600))
def test_damaged_replies(reply: tuple[int, bytes], form: Form, size: int) -> None:
    state, data = reply
    survive(state, form, pieces_of(data, size))


def packet(payload: bytes, sequence: int = 1) -> bytes:
    """Write one packet."""
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


SELECT = packet(b"\x01") + packet(b"\x03def", 2)
PREPARE = packet(b"\0\x01\0\0\0\0\0\x02\0\0\0\0")


@pytest.mark.parametrize(
    ("state", "data"),
    [
        (FIRST, packet(b"")),
        (FIRST, b"\xff\xff\xff\x01"),
        (FIRST, packet(b"\0")),
        (FIRST, packet(b"\0\0\0\x02")),
        (FIRST, packet(b"\0\xfc\x01")),
        (FIRST, packet(b"\0\xff\0\x02\0\0\0")),
        (FIRST, packet(b"\0\0\0\x02\x40\0\0\0\x05a")),  # trackers that end too early
        (FIRST, packet(b"\xfe")),  # an EOF without flags
        (FIRST, packet(b"\xfe\0\0\x02")),
        (FIRST, packet(b"\x01\x01")),  # neither a count nor anything else
        (FIRST, packet(b"\xfc\x01")),
        (FIRST, packet(b"\x02") + packet(b"\x03def", 2) + packet(b"\xfe\0\0\x02\0\0\0", 3)),
        (FIRST, packet(b"\x02") + packet(b"\x03def", 2) + packet(b"\xff\x01\0#42000", 3)),
        (FIRST, packet(b"\x02") + packet(b"\x03def", 2) + b"\0\0\0\x03\0"),
        (FIRST, packet(b"\x02") + b"\xff\xff\xff\x02\x03"),
        (FIRST, SELECT + packet(b"", 3) + b"\0"),
        (FIRST, SELECT + packet(b"\xfe\0", 3)),
        (FIRST, SELECT + packet(b"\xfe\0\0\0\0", 3)),  # the EOF of a server without DEPRECATE_EOF
        (PREPARED, packet(b"")),
        (PREPARED, packet(b"\x01")),
        (PREPARED, packet(b"\xfb/etc/passwd")),
        (PREPARED, packet(b"\xfe\0\0\x02\0\0\0")),
        (PREPARED, packet(b"\0\x01\0\0\0\0\0")),
        (PREPARED, PREPARE + packet(b"\xff\x01\0#42000", 2)),
        (PREPARED, PREPARE + packet(b"\x03def", 2) + b"\0\0\0\x03\0"),
        (STATISTICS, b"\xff\xff\xff\x01"),
    ],
)
def test_what_no_server_sends(state: int, data: bytes) -> None:
    for form in strategies.FORMS:
        for size in (1, len(data)):
            reply = Reply()
            reply.begin(state, client_form(form))
            with pytest.raises(ProtocolError):
                feed_all(reply, pieces_of(data, size))
            assert not reply.done


def test_a_server_that_speaks_while_it_waits_for_a_file() -> None:
    for rest in (b"x", packet(b"\0\0\0\x02\0\0\0", 2)):
        for at_once in (False, True):
            reply = Reply()
            reply.begin(FIRST, ClientForm(eof=False, track=True, local_files=True))
            request = packet(b"\xfbname")
            if not at_once:
                assert reply.feed(request) == request
            with pytest.raises(ProtocolError, match="waits for a file"):
                reply.feed(request + rest if at_once else rest)


def test_a_reply_to_prepare_cannot_fill_the_memory() -> None:
    reply = Reply()
    reply.begin(PREPARED, ClientForm(eof=True, track=False, local_files=False))
    reply.feed(packet(b"\0\x01\0\0\0\0\0\xff\xff\0\0\0"))
    definition = packet(b"\x03def" + bytes(1 << 20))
    with pytest.raises(ProtocolError, match="16 MiB"):
        feed_all(reply, [definition] * 64)


@pytest.mark.parametrize("form", [Form(False, True, True), Form(True, False, False)], ids=str)
@pytest.mark.parametrize("size", [FULL - 1, FULL, FULL + 1, 2 * FULL], ids=["-1", "+0", "+1", "twice"])
def test_rows_of_16_mib_and_more(size: int, form: Form) -> None:
    # 0xFE begins a length here, not an EOF, and 0xFF begins no ERR in the second packet of a row.
    row = b"\xfe" + (size - 9).to_bytes(8, "little") + bytes(size - 9)
    row = row if size >= FULL else b"\xfd" + row[1:]
    if size > FULL:
        row = row[:FULL] + b"\xff" + row[FULL + 1 :]
    parts: list[Part] = [ResultSet(rows=(b"\x011", row, b"\x012"), end=OkPart(3, header=0xFE)), ErrPart()]
    data = server_bytes(parts)
    (wanted,) = expected(parts, form).pieces
    start = data.index(row[:20]) - 4
    edges = sorted({start + offset for offset in (0, 1, 3, 4, 5, 100)})
    if size >= FULL:
        edges += [start + FULL + 4 + offset for offset in (-1, 0, 1, 3, 4, 5)]
    if size == 2 * FULL:
        edges += [start + 2 * FULL + 8 + offset for offset in (0, 2, 4, 5)]
    ways = [[], edges, *([edge] for edge in edges)]
    if size != FULL:
        ways = ways[:2]  # the other sizes take the same ways through the code
    for cuts in ways:
        reply = Reply()
        reply.begin(FIRST, client_form(form))
        positions = [0, *cuts, len(data)]
        out = bytearray()
        for low, high in pairwise(positions):
            out += reply.feed(data[low:high])
            # What a client of a lost server is told depends on it.
            inside = start + 4 < high < start + 4 + min(size, FULL)
            assert not (inside and reply.at_boundary)
        assert reply.done
        assert out == wanted
        assert reply.failed


def test_a_row_is_not_kept() -> None:
    row = b"\xfd" + (FULL - 5).to_bytes(3, "little") + bytes(FULL - 5)
    data = server_bytes([ResultSet(rows=(row,), end=END)])
    reply = Reply()
    reply.begin(FIRST, ClientForm(eof=True, track=True, local_files=False))
    for chunk in pieces_of(data, 1 << 16):
        reply.feed(chunk)
        kept = sum(sys.getsizeof(getattr(reply, name, None)) for name in Reply.__slots__)
        assert kept < 1 << 15
    assert reply.done


def test_statistics_are_not_looked_into() -> None:
    for first in (b"\0", b"\xfe", b"\xfb"):
        reply = Reply()
        reply.begin(STATISTICS, ClientForm(eof=True, track=False, local_files=False))
        data = server_bytes([Text(first + b"time: 1")])
        assert reply.feed(data) == data
        assert reply.done


def test_the_old_eof_that_some_servers_answer_set_option_with() -> None:
    for form in strategies.FORMS:
        reply = Reply()
        reply.begin(FIRST, client_form(form))
        data = packet(b"\xfe\0\0\x03\0")
        assert reply.feed(data) == data
        assert (reply.done, reply.status) == (True, 3)


def test_uploads_need_a_client_that_offered_them() -> None:
    parts: list[Part] = [Upload(), OkPart()]
    reply = Reply()
    reply.begin(FIRST, ClientForm(eof=False, track=True, local_files=False))
    request = server_pieces(parts)[0]
    for chunk in pieces_of(request, 1):
        assert not reply.refuses_upload
        assert reply.feed(chunk) == b""
    assert reply.refuses_upload


def test_definitions_of_a_prepared_statement_come_at_once() -> None:
    # Their number is in the first packet: nothing is shown before all are there, so that it can be refused.
    (data,) = server_pieces([Prepared((b"\x03def",), (b"\x03def",))])
    reply = Reply()
    reply.begin(PREPARED, ClientForm(eof=True, track=True, local_files=False))
    assert reply.feed(data[:-1]) == b""
    assert reply.feed(data[-1:])
    assert reply.done
