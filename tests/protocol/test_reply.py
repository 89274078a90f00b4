"""Every reply, for every form of client, however its bytes arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.protocol.reply import FIRST, PREPARED, ROWS, STATISTICS, UPLOADING, ClientForm, Reply
from tests.protocol import strategies
from tests.protocol.replies import (
    AUTOCOMMIT,
    CURSOR_EXISTS,
    LAST_ROW_SENT,
    ErrPart,
    Form,
    OkPart,
    Part,
    Parts,
    Prepared,
    ResultSet,
    Text,
    Upload,
    expected,
    server_pieces,
)

forms = pytest.mark.parametrize("form", strategies.FORMS, ids=str)

TRACKED = b"\x02\x01\x31"
END = OkPart(header=0xFE)
LAST_ROW = OkPart(status=AUTOCOMMIT | LAST_ROW_SENT, header=0xFE)
CURSOR = OkPart(status=AUTOCOMMIT | CURSOR_EXISTS, header=0xFE)
REPLIES: dict[str, list[Part]] = {
    "ok": [OkPart(3, 7, warnings=1)],
    "ok with text": [OkPart(3, info=b"Rows matched: 3")],
    "ok with trackers": [OkPart(changes=TRACKED)],
    "ok with both": [OkPart(1, 2**40, info=b"Records: 1", changes=b"\x00" + b"x" * 300)],
    "error": [ErrPart()],
    "set_option": [OkPart(header=0xFE)],
    "rows": [ResultSet(rows=(b"\x011", b"\xfb", b"\xfc\xfb\x00" + b"x" * 251))],
    "binary rows": [ResultSet((b"\x03def1", b"\x03def2"), (b"\x00\x00\x01", b"\x00\x08"))],
    "no rows": [ResultSet()],
    "no rows, transaction begun": [ResultSet(end=OkPart(status=3, header=0xFE))],
    "rows, trackers at the end": [ResultSet(rows=(b"\x011",), end=OkPart(header=0xFE, changes=TRACKED, warnings=2))],
    "no rows, trackers at the end": [ResultSet(end=OkPart(header=0xFE, changes=TRACKED))],
    "error after columns": [ResultSet(end=ErrPart())],
    "error after rows": [ResultSet(rows=(b"\x011", b"\x012"), end=ErrPart(1317))],
    "more columns than fit a byte": [ResultSet((b"\x03def",) * 251, (b"\x011" * 251,))],
    "more rows than sequence ids": [ResultSet(rows=(b"\x011",) * 600), ErrPart()],
    "chain": [OkPart(1, 5), ResultSet(rows=(b"\x011",)), OkPart(changes=TRACKED), ResultSet(), OkPart(insert_id=6)],
    "chain that fails": [ResultSet(rows=(b"\x011",)), ErrPart()],
    "upload": [Upload(), OkPart(1, info=b"Records: 1")],
    "upload that fails": [Upload(files=(b"x", b"y", b"")), ErrPart()],
    "uploads in a chain": [ResultSet(), Upload(), OkPart(1), ResultSet(rows=(b"\x011",)), Upload(), OkPart(2)],
    "upload of nothing": [Upload(files=(b"",)), OkPart()],
    "cursor": [ResultSet(end=CURSOR)],
    "fetch": [ResultSet(rows=(b"\x00\x00",), end=LAST_ROW, counted=False)],
    "fetch of nothing": [ResultSet(end=END, counted=False)],
    "fetch that fails": [ResultSet(end=ErrPart(), counted=False)],
    "fields": [ResultSet(rows=(b"\x03defa\xfb", b"\x03defb\xfb"), end=END, counted=False)],
    "prepared": [Prepared((b"\x03def?",) * 2, (b"\x03defa",) * 3, 1)],
    "prepared, parameters alone": [Prepared(parameters=(b"\x03def?",))],
    "prepared, columns alone": [Prepared(columns=(b"\x03defa",))],
    "prepared, neither": [Prepared()],
    "not prepared": [ErrPart()],
    "statistics": [Text(b"Uptime: 100  Threads: 2")],
}


def begin(reply: Reply, name: str, parts: Parts, form: Form) -> None:
    """Make `reply` expect such a reply."""
    first = parts[0]
    state = FIRST
    if isinstance(first, ResultSet) and not first.counted:
        state = ROWS
    elif isinstance(first, Prepared) or "prepared" in name:
        state = PREPARED
    elif isinstance(first, Text):
        state = STATISTICS
    reply.begin(state, ClientForm(form.eof, form.track, form.local_files))


def chunks(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at these positions."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def whole_packets(data: bytes) -> int | None:
    """Count the packets in `data`; None if the last one is not whole, or is continued in another."""
    position = count = 0
    length = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 3], "little")
        position += 4 + length
        count += 1
    return count if position == len(data) and length < 0xFFFFFF else None


def check(
    parts: Parts, form: Form, cuts: Iterable[int], *, name: str = "", reply: Reply | None = None, rest: bytes = b""
) -> Reply:
    """Feed the reply in chunks and compare all that comes of it."""
    cuts = list(cuts)
    reply = reply or Reply()
    wanted = expected(parts, form, reply.status)
    begin(reply, name, parts, form)
    pieces = server_pieces(parts, form.local_files)
    uploads = [part for part in parts if isinstance(part, Upload)]
    quiet = False
    seen = 0  # packets that have passed the client, in both directions
    got: list[bytes] = []
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        received = b""
        for chunk in chunks(piece + rest if is_last else piece, cuts):
            assert not reply.done or not piece
            received += bytes(reply.feed(chunk))
            # The client got the error that ends its reply, while the server has more results.
            quiet = quiet or (reply.failed and not reply.done)
            whole = whole_packets(received)
            if whole is not None and not (reply.done or quiet or reply.refuses_upload):
                assert reply.next_sequence == (seen + whole + 1) % 256
            assert reply.at_boundary == (whole is not None) or quiet
        seen += whole_packets(received) or 0
        got.append(received)
        if not is_last:
            assert reply.state == UPLOADING
            assert reply.refuses_upload is not form.local_files
            if form.local_files:
                packets = len(uploads[number].files)
                seen += packets
                reply.uploaded(packets)
            else:
                answer = reply.refused_upload()
                assert answer[:3] == b"\0\0\0"
                assert answer[3] == (pieces_sequence(pieces, number) + 1) % 256
    assert reply.done
    assert got == wanted.pieces
    assert (reply.failed, reply.status) == (wanted.failed, wanted.status)
    assert reply.changes == (wanted.changes or None)
    assert reply.insert_id == wanted.insert_id
    if not reply.failed:
        assert (reply.row_count, reply.warnings) == (wanted.row_count, wanted.warnings)
    assert bytes(reply.rest) == rest or cuts
    return reply


def pieces_sequence(pieces: Sequence[bytes], number: int) -> int:
    """Give the sequence id of the last packet of a piece."""
    data = pieces[number]
    position = last = 0
    while position < len(data):
        last = data[position + 3]
        position += 4 + int.from_bytes(data[position : position + 3], "little")
    return last


@forms
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_cut_at_each_byte(name: str, form: Form) -> None:
    parts = REPLIES[name]
    longest = max(len(piece) for piece in server_pieces(parts, form.local_files))
    # Long ones differ from short ones in their first and last part only.
    for cut in [*range(min(longest, 300)), *range(max(300, longest - 60), longest + 1)]:
        check(parts, form, [cut], name=name)


@forms
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_in_one_read_and_byte_by_byte(name: str, form: Form) -> None:
    check(REPLIES[name], form, [], name=name, rest=b"\0\0")
    check(REPLIES[name], form, [], name=name)
    check(REPLIES[name], form, range(9000), name=name)


def test_a_client_of_the_servers_own_form_is_given_the_very_bytes() -> None:
    form = Form(eof=False, track=True, local_files=True)
    for name, parts in REPLIES.items():
        assert expected(parts, form).pieces == server_pieces(parts), name


any_form = st.sampled_from(strategies.FORMS)
any_cuts = st.lists(st.integers(0, 4000), max_size=12)


@settings(deadline=None, max_examples=250)
@given(strategies.chains(), any_form, any_cuts, st.booleans())
def test_any_chain_of_results_cut_anywhere(parts: list[Part], form: Form, cuts: list[int], bytewise: bool) -> None:
    check(parts, form, range(4000) if bytewise else cuts)


@settings(deadline=None, max_examples=40)
@given(strategies.chains(), any_form)
def test_any_chain_of_results_cut_at_each_byte(parts: list[Part], form: Form) -> None:
    longest = max(len(piece) for piece in server_pieces(parts, form.local_files))
    for cut in range(longest + 1):
        check(parts, form, [cut])


@settings(deadline=None, max_examples=100)
@given(st.one_of(strategies.uncounted, strategies.statistics), any_form, any_cuts)
def test_rows_without_columns_and_statistics_cut_anywhere(parts: list[Part], form: Form, cuts: list[int]) -> None:
    check(parts, form, cuts)


@settings(deadline=None, max_examples=100)
@given(strategies.prepared, any_form, any_cuts)
def test_replies_to_prepare_cut_anywhere(parts: list[Part], form: Form, cuts: list[int]) -> None:
    check(parts, form, cuts, name="prepared")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(strategies.chains(), any_form, any_cuts), min_size=2, max_size=4))
def test_one_reply_after_another_for_clients_of_different_forms(
    replies: list[tuple[list[Part], Form, list[int]]],
) -> None:
    reply = Reply()
    for parts, form, cuts in replies:
        check(parts, form, cuts, reply=reply)


@forms
def test_flags_of_an_earlier_statement_are_not_told_as_those_of_this_one(form: Form) -> None:
    # A client that took over the cursor's flag would fetch rows that are on their way already.
    reply = Reply()
    check([ResultSet(end=CURSOR)], form, [], reply=reply)
    check([ResultSet(rows=(b"\x00\x00",), end=END)], form, [], reply=reply)
    check([Prepared(columns=(b"\x03def",))], form, [], reply=reply)


@forms
def test_counts_of_an_earlier_statement_are_not_told_as_those_of_this_one(form: Form) -> None:
    reply = Reply()
    for part in (Prepared(), Text(), OkPart(), ErrPart()):
        check([OkPart(affected=7, warnings=2)], form, [], reply=reply)
        assert reply.row_count == 7
        check([part], form, [], reply=reply)
        assert reply.warnings == 0


@forms
@pytest.mark.parametrize("first", [b"\x01", b"\x00", b"\xfb"], ids=["text", "binary", "null"])
def test_bytes_of_a_row_move_on_as_they_come(first: bytes, form: Form) -> None:
    row = first + b"x" * 500_000
    reply = Reply()
    begin(reply, "", [ResultSet()], form)
    (data,) = server_pieces([ResultSet(rows=(row,))])
    (wanted,) = expected([ResultSet(rows=(row,))], form).pieces
    given_out = 0
    for start in range(0, len(row), 1000):
        given_out += len(reply.feed(data[start : start + 1000]))
        # A packet's head may have to wait for its first byte, an end for its last.
        assert given_out >= min(start + 1000, len(row)) - 8
    given_out += len(reply.feed(data[len(row) // 1000 * 1000 :]))
    assert given_out == len(wanted)
