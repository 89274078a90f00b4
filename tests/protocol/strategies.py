"""Replies by chance, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.protocol.replies import (
    AUTOCOMMIT,
    CURSOR_EXISTS,
    ErrPart,
    Form,
    OkPart,
    Part,
    Prepared,
    ResultSet,
    Text,
    Upload,
)

FORMS = [
    Form(eof, track, local_files) for eof in (False, True) for track in (False, True) for local_files in (False, True)
]

numbers = st.sampled_from([0, 1, 250, 251, 252, 255, 256, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000, 2**64 - 1])
small = st.binary(max_size=12)
texts = st.one_of(small, st.binary(min_size=249, max_size=256))
# All but MORE_RESULTS, CURSOR_EXISTS and STATE_CHANGED, which follow from the reply.
statuses = st.lists(
    st.sampled_from([0x1, 0x2, 0x10, 0x20, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000]), unique=True
).map(sum)

columns = st.builds(lambda rest: b"\x03def" + rest, small)
# The first byte of a row: a length, NULL, the marks of longer lengths, or the 0 of a binary row.
rows = st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0, 0xFD), texts)


def oks(header: int = 0x00) -> st.SearchStrategy[OkPart]:
    """OK packets of all kinds; every other one of the plainest kind, which has a short cut of its own."""
    plain = st.builds(OkPart, st.just(0), st.sampled_from([0, 9]), statuses, header=st.just(header))
    blocks = st.one_of(st.just(b""), texts)
    any_kind = st.builds(
        OkPart, numbers, numbers, statuses, st.integers(0, 0xFFFF), texts, blocks, st.just(header)
    )
    return st.one_of(plain, any_kind)


errs = st.builds(ErrPart, st.integers(0, 0xFFFF), texts)
ends = oks(0xFE)


def result_sets(end: st.SearchStrategy[OkPart | ErrPart]) -> st.SearchStrategy[ResultSet]:
    """Results of a SELECT."""
    return st.builds(
        ResultSet, st.lists(columns, min_size=1, max_size=3).map(tuple), st.lists(rows, max_size=5).map(tuple), end
    )


cursors = st.builds(
    ResultSet,
    st.lists(columns, min_size=1, max_size=3).map(tuple),
    end=st.builds(OkPart, status=st.just(AUTOCOMMIT | CURSOR_EXISTS), header=st.just(0xFE)),
)
files = st.lists(st.binary(min_size=1, max_size=9), max_size=3).map(lambda packets: (*packets, b""))
uploads = st.builds(Upload, small, files)

# In the midst of a chain: what may be followed by more.
links: st.SearchStrategy[tuple[Part, ...]] = st.one_of(
    st.tuples(oks()), st.tuples(result_sets(ends)), st.tuples(uploads, oks())
)
last_links: st.SearchStrategy[tuple[Part, ...]] = st.one_of(
    links, st.tuples(errs), st.tuples(uploads, errs), st.tuples(result_sets(errs)), st.tuples(cursors)
)


@st.composite
def chains(draw: st.DrawFn) -> list[Part]:
    """Replies to COM_QUERY, COM_STMT_EXECUTE and the like."""
    parts: list[Part] = []
    for link in draw(st.lists(links, max_size=2)):
        parts += link
    return [*parts, *draw(last_links)]


uncounted: st.SearchStrategy[list[Part]] = st.builds(
    ResultSet, rows=st.lists(rows, max_size=5).map(tuple), end=st.one_of(ends, errs), counted=st.just(False)
).map(lambda part: [part])
prepared: st.SearchStrategy[list[Part]] = st.one_of(
    st.builds(
        Prepared, st.lists(columns, max_size=3).map(tuple), st.lists(columns, max_size=3).map(tuple), st.integers(0, 9)
    ),
    errs,
).map(lambda part: [part])
statistics: st.SearchStrategy[list[Part]] = st.builds(Text, st.binary(min_size=1, max_size=30)).map(lambda part: [part])
