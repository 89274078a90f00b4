"""Scripts at random, as hypothesis draws and shrinks them."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.catalogue import PREPARED, kinds_of
from tests.differential.commands import (
    RESET,
    Bulk,
    ChangeUser,
    CloseStatement,
    Command,
    Execute,
    Fetch,
    InitDb,
    LongData,
    Plain,
    Prepare,
    Query,
    ResetStatement,
    Step,
)
from tests.differential.known import KNOWN

SESSIONS = 8
LENGTH = 60
"""Steps of a script before any are taken out."""

Script = tuple[Step, ...]

_SLOTS = st.integers(0, 1)
_VALUES = st.lists(
    st.sampled_from([None, 1, 3, -7, 2.5, "text", "12", "3x", "much too long", "é", b"\x00\xff", "SELECT 1"]),
    min_size=1,
    max_size=2,
).map(tuple)

_COMMANDS: dict[str, st.SearchStrategy[Command]] = {
    "prepared": st.one_of(
        st.builds(Prepare, st.just("prepared"), _SLOTS, st.sampled_from(PREPARED)),
        st.builds(Execute, st.just("prepared"), _SLOTS, _VALUES, st.booleans(), st.booleans()),
        st.builds(Execute, st.just("prepared"), _SLOTS, _VALUES, st.just(False), st.just(False)),
        st.builds(Fetch, st.just("prepared"), _SLOTS, st.integers(1, 3)),
        st.builds(LongData, st.just("prepared"), _SLOTS, st.sampled_from([b"long", b"1", b""])),
        st.builds(ResetStatement, st.just("prepared"), _SLOTS),
        st.builds(CloseStatement, st.just("prepared"), _SLOTS),
    ),
    "schema": st.builds(InitDb, st.just("schema"), st.sampled_from(["diff1", "diff2", "no_such_schema"])),
    "reset": st.just(RESET),
    "change user": st.builds(
        ChangeUser, st.just("change user"), st.sampled_from(["diff1", "diff2"]), st.sampled_from([45, 5, 33, 246])
    ),
    "ping": st.just(Plain("ping", "COM_PING", 0x0E)),
    "option": st.builds(
        Plain, st.just("option"), st.just("COM_SET_OPTION"), st.just(0x1B), st.sampled_from([b"\0\0", b"\1\0"])
    ),
}

_ROWS = st.lists(_VALUES, min_size=1, max_size=3).map(tuple)
_BULKS = st.builds(Bulk, st.just("prepared"), _SLOTS, _ROWS, st.booleans())


def scripts(server: str, only: frozenset[str] = frozenset()) -> st.SearchStrategy[Script]:
    """Draw scripts for a server, ``mariadb`` or ``mysql``; of ``only`` these kinds if any are given."""
    kinds: dict[str, st.SearchStrategy[Command]] = {
        kind: st.builds(Query, st.just(kind), st.sampled_from(statements))
        for kind, statements in kinds_of(server).items()
    }
    kinds |= _COMMANDS
    if server == "mariadb":
        kinds["prepared"] |= _BULKS
    names = [kind for kind in kinds if kind not in KNOWN and (not only or kind in only)]

    @st.composite
    def draw_script(draw: st.DrawFn) -> Script:
        # A few kinds for each script: all together would seldom come near each other.
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=7, unique=True))
        command = st.one_of([kinds[name] for name in chosen])
        # Of one length, since hypothesis would draw mostly short ones; a step that is none is what steps shrink to.
        step = st.none() | st.builds(_step, st.integers(1, SESSIONS), command)
        steps = draw(st.lists(step, min_size=LENGTH, max_size=LENGTH))
        return tuple(step for step in steps if step is not None)

    return draw_script()


def _step(session: int, command: Command) -> Step:
    if isinstance(command, Query):
        command = Query(command.kind, command.sql.replace("{n}", str(session)))
    elif isinstance(command, Prepare):
        command = Prepare(command.kind, command.slot, command.sql.replace("{n}", str(session)))
    return Step(session, command)
