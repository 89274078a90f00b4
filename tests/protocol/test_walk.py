"""The loops over whole packets: the compiled ones and those in Python do the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdsproxy.protocol import walk as python
from rdsproxy.protocol.framing import frame
from tests.compiled import compiled_helper
from tests.protocol import strategies
from tests.protocol.replies import OkPart, ResultSet, Upload, server_bytes

FULL_HEADER = b"\xff\xff\xff\x07"


@pytest.fixture(scope="module")
def compiled() -> Any:
    """The compiled helper. Only where it could not be built may it be missing."""
    return compiled_helper("rdsproxy.protocol._walk")


def test_the_compiled_helper_is_the_one_in_use(compiled: Any) -> None:
    assert python.walk is compiled.walk
    assert python.whole is compiled.whole
    assert python.command_of is compiled.command_of
    assert python.with_id is compiled.with_id


# -- commands ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=12), st.binary(min_size=1, max_size=6).map(frame)))
@example(FULL_HEADER[:3] + b"\0" + bytes(0xFFFFFF))
@example(b"\xfe\xff\xff\0" + bytes(0xFFFFFE))
def test_both_find_the_same_command(compiled: Any, data: bytes) -> None:
    assert python.command_of_python(data) == compiled.command_of(data)


@pytest.mark.parametrize("twin", ["python", "compiled"])
@pytest.mark.parametrize(
    ("data", "command"),
    [
        (b"\x02\0\0\0\x03a", 3),
        (b"\x01\0\0\0\xff", 255),
        (b"", -1),
        (b"\x01\0\0", -1),
        (b"\0\0\0\0", -1),  # empty
        (b"\x02\0\0\0\x03", -1),  # not whole
        (b"\x01\0\0\0\x0e\x01\0\0\0\x0e", -1),  # two of them
        (b"\x01\0\0\x01\x0e", -1),  # out of order
        (b"\xff\xff\xff\0" + bytes(0xFFFFFF), -1),  # continued
        (b"\xfe\xff\xff\0\x16" + bytes(0xFFFFFD), 0x16),
    ],
)
def test_the_command_of_a_packet(compiled: Any, twin: str, data: bytes, command: int) -> None:
    command_of = compiled.command_of if twin == "compiled" else python.command_of_python
    assert command_of(data) == command


@pytest.mark.parametrize("twin", ["python", "compiled"])
def test_a_command_with_another_id(compiled: Any, twin: str) -> None:
    with_id = compiled.with_id if twin == "compiled" else python.with_id_python
    packet = frame(b"\x17\x01\0\0\0\0\x01\0\0\0more")
    assert with_id(packet, b"\x02\x03\x04\x05") == frame(b"\x17\x02\x03\x04\x05\0\x01\0\0\0more")
    assert packet == frame(b"\x17\x01\0\0\0\0\x01\0\0\0more")
    assert with_id(packet[:9], b"abcd") == packet[:5] + b"abcd"
    for few, wrong in ((packet[:8], b"abcd"), (packet, b"abc"), (packet, b"abcde"), (b"", b"")):
        with pytest.raises(ValueError, match="no command on a prepared statement"):
            with_id(few, wrong)


# -- walk --------------------------------------------------------------------------------------------------------------

firsts = st.sampled_from([b"\0", b"\xfb", b"\xfd", b"\xfe", b"\xff"])
payloads = st.one_of(
    st.binary(max_size=8),
    st.tuples(firsts, st.binary(max_size=4)).map(b"".join),
    st.binary(min_size=255, max_size=257),
)
sequences = st.integers(0, 255)
whole_packets = st.builds(
    lambda payload, sequence: len(payload).to_bytes(3, "little") + bytes([sequence]) + payload, payloads, sequences
)
odd = st.one_of(st.binary(max_size=10), st.just(FULL_HEADER), st.just(FULL_HEADER + b"xyz"))
streams = st.lists(st.one_of(whole_packets, whole_packets, odd), max_size=12).map(b"".join)


@settings(deadline=None, max_examples=500)
@given(streams, st.integers(0, 30), st.integers(0, 30), st.integers(-300, 300), st.integers(-2, 12))
@example(b"", 0, 0, 0, -1)
@example(b"\x01\0\0\0", 0, 0, 1, -1)
@example(b"\x01\0\0\0a" * 300, 0, 0, 1, -1)
def test_both_walk_the_same_way(
    compiled: Any, data: bytes, position: int, cut: int, shift: int, limit: int
) -> None:
    position = min(position, len(data))
    end = max(position, len(data) - cut)
    one, other = bytearray(data), bytearray(data)
    assert python.walk_python(one, position, end, shift, limit) == compiled.walk(other, position, end, shift, limit)
    assert one == other
    if shift % 256 == 0:
        assert compiled.walk(data, position, end, shift, limit) == python.walk_python(one, position, end, 0, limit)
        assert one == data


@pytest.mark.parametrize("twin", ["python", "compiled"])
@pytest.mark.parametrize(
    ("data", "limit", "reached", "walked"),
    [
        (b"\x01\0\0\0a\x02\0\0\x01bc", -1, 11, 2),
        (b"\x01\0\0\0a\x02\0\0\x01bc", 1, 5, 1),
        (b"\x01\0\0\0a\x02\0\0\x01bc", 0, 0, 0),
        (b"\x01\0\0\0a\x02\0\0\x01b", -1, 5, 1),  # not whole
        (b"\x01\0\0\0a\0\0\0\x01\x01\0\0\x02b", -1, 5, 1),  # empty
        (b"\x01\0\0\0a\x05\0\0\x01\xfe\0\0\0\0", -1, 5, 1),
        (b"\x01\0\0\0a\x05\0\0\x01\xff\0\0\0\0", -1, 5, 1),
        (b"\x01\0\0\0a\x01\0\0\x01\xfd", -1, 10, 2),
        (b"\x01\0\0\0a" + FULL_HEADER + bytes(0xFFFFFF), -1, 5, 1),  # continued
        (b"\xfe\xff\xff\x07" + bytes(0xFFFFFE), -1, 0xFFFFFE + 4, 1),
    ],
)
def test_where_a_walk_ends(twin: str, compiled: Any, data: bytes, limit: int, reached: int, walked: int) -> None:
    walk = python.walk_python if twin == "python" else compiled.walk
    assert walk(data, 0, len(data), 0, limit) == (reached, walked)


def test_wrong_arguments_do_no_harm(compiled: Any) -> None:
    data = b"\x01\0\0\0a"
    wrong: list[tuple[object, ...]] = [(), (data,), ("text", 0, 5, 0, -1), (data, None, 5, 0, -1), (None,) * 5]
    for arguments in wrong:
        with pytest.raises(TypeError):
            compiled.walk(*arguments)
    with pytest.raises((TypeError, BufferError)):
        compiled.walk(data, 0, 5, 1, -1)  # bytes are not changed
    with pytest.raises(OverflowError):
        compiled.walk(data, 2**70, 5, 0, -1)
    for position, end in [(-1, 5), (-(2**62), 2**62), (0, 2**62), (7, 5), (2**62, 2**62), (0, -1)]:
        reached, walked = compiled.walk(data, position, end, 0, -1)
        assert (reached, walked) in ((position, 0), (5, 1))
    wrong = [(), (data,), (bytearray(data), False, 0), (data, False, "2"), (None, False, 0)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            compiled.whole(*arguments)


# -- whole -------------------------------------------------------------------------------------------------------------

simple_end = st.builds(OkPart, status=strategies.statuses, warnings=st.integers(0, 65535), header=st.just(0xFE))
simple = st.one_of(
    st.builds(OkPart, st.integers(0, 255), st.sampled_from([0, 0, 1]), strategies.statuses, st.integers(0, 65535)),
    st.builds(
        ResultSet,
        st.lists(strategies.columns, min_size=1, max_size=4).map(tuple),
        st.lists(strategies.rows, max_size=300).map(tuple),
        simple_end,
    ),
).map(lambda part: server_bytes([part]))
unusual = (
    strategies.chains().filter(lambda parts: not any(isinstance(part, Upload) for part in parts)).map(server_bytes)
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A reply in which a few bytes are others, or missing, or too many."""
    data = bytearray(draw(st.one_of(simple, unusual)))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 2))
        data[position : position + size] = draw(st.binary(max_size=2))
    return bytes(data)


@settings(deadline=None, max_examples=500)
@given(st.one_of(simple, unusual, damaged(), st.binary(max_size=40)), st.booleans(), st.integers(0, 65535))
def test_both_adapt_the_same_replies_in_the_same_way(compiled: Any, data: bytes, eof: bool, status: int) -> None:
    assert python.whole_python(data, eof, status) == compiled.whole(data, eof, status)


def test_simple_replies_are_adapted_in_one_step(compiled: Any) -> None:
    ok = server_bytes([OkPart(3, status=3, warnings=1)])
    rows = server_bytes([ResultSet((b"\x03def",) * 2, (b"\x011",) * 600, OkPart(status=3, warnings=1, header=0xFE))])
    for whole in (python.whole_python, compiled.whole):
        for eof in (False, True):
            assert whole(ok, eof, 2) == (ok, 3, 1, 1, 3)
            simple = whole(rows, eof, 2)
            assert simple is not None
            assert simple[1:] == (3, 1, 604, python.rows_told(600))
            assert (simple[0] == rows) is not eof
        assert whole(server_bytes([OkPart(insert_id=1)]), False, 2) is None


def test_replies_are_the_same_without_the_compiled_helper() -> None:
    # None in sys.modules makes an import fail.
    script = (
        "import sys; sys.modules['rdsproxy.protocol._walk'] = None; import pytest;"
        "from rdsproxy.protocol import walk; assert walk.walk is walk.walk_python;"
        "sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', 'tests/protocol/test_reply.py',"
        " '-k', 'test_any_chain or after_another or prepare or one_read']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
