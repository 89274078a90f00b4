"""The compiled twins do what their methods do: whatever is tried leaves everything just as it does without them."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy import shortcut
from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.frontend.commands import HANDLERS_WITH_ATTRIBUTES
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import PacketReader, frame
from rdsproxy.protocol.reply import ClientForm
from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.telling import NOTHING, Telling
from rdsproxy.relay import errors
from rdsproxy.session.leaving import Left
from rdsproxy.session.pinning import UNUSED_TRANSACTION, PinReason
from rdsproxy.session.prepared import Copies, Statements, Told
from rdsproxy.session.statements import Trait
from tests.compiled import compiled_helper
from tests.shortcut.world import KEY, World, ok_payload, plain_ok, rows

PLAIN = ClientForm(eof=False, track=True, local_files=True)
OLD = ClientForm(eof=True, track=False, local_files=False)
AUTOCOMMIT, IN_TRANSACTION = 2, 3
CHANGED = 0x4000  # SERVER_SESSION_STATE_CHANGED

Act = Callable[[World], None]
WORLDS: list[World] = []
"""The last one."""


@pytest.fixture(scope="module", autouse=True)
def _twins() -> None:
    compiled_helper("rdsproxy.shortcut._twins")
    assert shortcut.install()


@contextmanager
def without_twins() -> Iterator[None]:
    """Put the methods back in their places for a while."""
    twins = [(owner, name, getattr(owner, name)) for owner, name, _ in shortcut.METHODS]
    for owner, name, method in shortcut.METHODS:
        setattr(owner, name, method)
    try:
        yield
    finally:
        for owner, name, twin in twins:
            setattr(owner, name, twin)


def happenings(acts: list[Act], form: ClientForm, asks: bool) -> Iterator[list[object]]:
    """Do all of this in a new world; give what was said after each, and at last all that there is."""
    random.seed(1)  # how long the pool waits before it tries again
    world = World(form, asks=asks)
    WORLDS[:] = [world]
    for act in acts:
        act(world)
        yield world.said()
    yield world.all()


def check(acts: list[Act], form: ClientForm = PLAIN, *, asks: bool = False) -> None:
    """Do it both ways."""
    with without_twins():
        expected = list(happenings(acts, form, asks))
    for number, (wanted, got) in enumerate(zip(expected, happenings(acts, form, asks), strict=True)):
        assert got == wanted, f"after act {number}"


# -- what may be done ------------------------------------------------------------------------------------------------

QUERIES = (
    b"SELECT 1", b"UPDATE t SET v = 1", b"INSERT INTO t VALUES (1)", b"BEGIN", b"COMMIT", b"SET @a = 1", b"SELECT @a",
    b"SELECT FOUND_ROWS()", b"SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1", b"SELECT LAST_INSERT_ID()",
    b"SHOW WARNINGS", b"SELECT ROW_COUNT()", b"SELECT GET_LOCK('a', 1)", b"KILL QUERY 1", b"SELECT CONNECTION_ID()",
    b"SET sql_mode = ''",
)  # fmt: skip
ERR = frame(Err(1064, "42000", "no").build(), 1)
TRACKED = frame(b"\0\0\0" + (AUTOCOMMIT | CHANGED).to_bytes(2, "little") + bytes(2) + b"\0\x04\x01\x02\x01d", 1)
REPLIES = (
    plain_ok(), plain_ok(affected=3), plain_ok(IN_TRANSACTION), plain_ok(IN_TRANSACTION, affected=1),
    plain_ok(insert_id=5), plain_ok(IN_TRANSACTION, insert_id=6), plain_ok(warnings=1), plain_ok(AUTOCOMMIT | 8),
    rows(0), rows(3), rows(300), rows(2, IN_TRANSACTION), rows(1, warnings=2), rows(1, 0x42), ERR, TRACKED,
    frame(b"", 1), plain_ok() + b"behind", frame(b"\xfbfile", 1),
)  # fmt: skip
PING = frame(bytes((commands.PING,)))
FIELDS = frame(bytes((commands.FIELD_LIST,)) + b"t\0")
SENT = (PING, PING + PING, PING[:3], PING[3:], frame(b"\x03SELECT 1") * 2, frame(b"", 0), b"\1\0\0\1\3")
TIMES = (0.02, 1.0, 6.0)

clients = st.integers(0, 3)
databases = st.integers(0, 1)


def acts() -> st.SearchStrategy[Act]:
    """Something that a client, a database or the time does; what is ordinary is more likely."""
    query = st.builds(lambda who, text: lambda world: world.query(who, text), clients, st.sampled_from(QUERIES))
    select = st.builds(lambda who: lambda world: world.query(who, b"SELECT 1"), clients)
    execute = st.builds(
        lambda who, number, bind, flags: lambda world: world.execute(who, number, bind=bind, flags=flags),
        clients, st.sampled_from((1, 1, 1, 2, 2, 3)), st.sampled_from((False, False, False, True)),
        st.sampled_from((0, 0, 0, 0, 1)),
    )  # fmt: skip
    reply = st.builds(lambda where, what: lambda world: world.reply(where, what), databases, st.sampled_from(REPLIES))
    ordinary = st.builds(
        lambda where, what: lambda world: world.reply(where, what), databases, st.sampled_from((plain_ok(), rows(2)))
    )
    halved = st.builds(
        lambda where, what, at: lambda world: (world.reply(where, what[:at]), world.reply(where, what[at:])),
        databases, st.sampled_from(REPLIES), st.integers(1, 30),
    )  # fmt: skip
    sent = st.builds(
        lambda who, data: lambda world: world.send(who, data),
        clients,
        st.sampled_from(SENT),
    )
    passing = st.builds(lambda time: lambda world: world.do(world.clock.advance, time), st.sampled_from(TIMES))
    slow = st.builds(
        lambda who, slow: lambda world: world.do(
            world.clients[who].pauseProducing if slow else world.clients[who].resumeProducing
        ),
        clients, st.booleans(),
    )  # fmt: skip
    gone = st.builds(lambda who: lambda world: world.lose(world.clients[who]), clients)
    lost = st.builds(
        lambda where: lambda world: world.lose(world.database.opened[where % len(world.database.opened)]), databases
    )
    return st.one_of(
        query, select, select, execute, execute, execute, reply, reply, ordinary, ordinary, ordinary, ordinary, halved,
        sent, passing, slow, gone, lost,
    )  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(done=st.lists(acts(), max_size=40), form=st.sampled_from((PLAIN, OLD)), asks=st.booleans())
def test_whatever_happens(done: list[Act], form: ClientForm, asks: bool) -> None:
    check(done, form, asks=asks)


# -- what is ordinary ------------------------------------------------------------------------------------------------


def query_then(text: bytes, *replies: bytes) -> list[Act]:
    answers = [lambda world, reply=reply: world.answer(0, reply) for reply in replies]
    return [lambda world: world.query(0, text), *answers]


def execute_then(number: int, reply: bytes) -> list[Act]:
    return [lambda world: world.execute(0, number, bind=False), lambda world: world.answer(0, reply)]


def waited_for(number: int) -> list[Act]:
    """Three clients, two connections: the third waits in the pool, behind a fourth that does."""
    return [
        *[lambda world, who=who: world.execute(who, number, bind=False) for who in range(4)],
        *[lambda world: world.reply(0, rows(1)), lambda world: world.reply(1, rows(1))] * 2,
    ]


ORDINARY = {
    "query": query_then(b"SELECT 1", rows(2)),
    "write": query_then(b"UPDATE t SET v = 1", plain_ok(affected=1)),
    "in a transaction": [
        *query_then(b"UPDATE t SET v = 1", plain_ok(IN_TRANSACTION)), *query_then(b"SELECT 1", rows(2, IN_TRANSACTION)),
    ],
    "execution": execute_then(1, rows(1)),
    "execution of a write": execute_then(2, plain_ok(affected=1)),
    "executions that wait": waited_for(1),
    "queries that wait": [
        *[lambda world, who=who: world.query(who, b"SELECT 1") for who in range(4)],
        *[lambda world: world.reply(0, rows(1)), lambda world: world.reply(1, plain_ok())] * 2,
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", ORDINARY)
def test_what_is_ordinary_does_not_reach_the_methods(case: str) -> None:
    """Otherwise the twins would be of no use, and nobody would notice."""
    world = World(PLAIN)
    called: list[str] = []

    def note(frame: Any, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.endswith(
            ("relay/relay.py", "relay/preparing.py", "relay/returning.py", "protocol/reply.py", "session/prepared.py")
        ):
            called.append(code.co_qualname)

    for act in ORDINARY[case]:
        sys.setprofile(note)
        try:
            act(world)
        finally:
            sys.setprofile(None)
    # Whether somebody will ask for FOUND_ROWS() behind a write, the method looks.
    assert called == (["give_back"] if "write" in case else [])
    assert world.errors == []
    # And it has come to its end.
    assert [client.relay.busy for client in world.clients if client.relay] == [False] * 4


# -- and what is not, one thing at a time ----------------------------------------------------------------------------


def to_relays(**values: object) -> Act:
    """Have these attributes of all relays be otherwise; those of others are named with where they are: a__b."""

    def act(world: World) -> None:
        for client in world.clients:
            for path, value in values.items():
                *way, name = path.split("__")
                thing: Any = client.relay
                for step in way:
                    thing = getattr(thing, step)
                setattr(thing, name, value() if callable(value) else value)

    return act


def to_clients(name: str, value: Callable[[], object]) -> Act:
    def act(world: World) -> None:
        for client in world.clients:
            setattr(client, name, value())

    return act


def to_connections(name: str, value: Callable[[DatabaseConnection], object]) -> Act:
    def act(world: World) -> None:
        for connection in world.database.opened:
            setattr(connection, name, value(connection))

    return act


def with_left(world: World) -> None:
    for client, connection in zip(world.clients, world.database.opened, strict=False):
        assert client.relay is not None
        client.relay.behind.left = connection.left = Left(client.relay.session, connection)


def with_left_of_others(world: World) -> None:
    relay = world.clients[3].relay
    assert relay is not None
    for connection in world.database.opened:
        connection.left = Left(relay.session, connection)


def with_other_copies(world: World) -> None:
    for connection in world.database.opened:
        for copy in connection.copies._copies.values():
            copy.told = Told.of(b"\x08\x00", ())


def with_marks(world: World) -> None:
    for connection in world.database.opened:
        connection.reply.follow(1, 1)


def with_an_alarm_gone(world: World) -> None:
    world.pool._deadlines.stop()


def with_a_spare(world: World) -> None:
    for connection in world.database.opened:
        world.pool.spares.due[connection] = 1.0


def in_shelves(name: str, value: int) -> Act:
    def act(world: World) -> None:
        for shelf in world.pool._books._shelves.values():
            setattr(shelf, name, value)

    return act


def both(one: Act, other: Act) -> Act:
    def act(world: World) -> None:
        one(world)
        other(world)

    return act


def of_the_books(name: str, value: int) -> Act:
    return lambda world: setattr(world.pool._books, name, value)


def of_the_pool(name: str, value: Any) -> Act:
    return lambda world: setattr(world.pool, name, value)


def with_another_that_waits(world: World) -> None:
    """Of another kind: it is told what to do when it has a connection."""
    world.pool.borrow(KEY, None).addCallback(lambda connection: world.pool.give_back(connection))


def with_another_key(world: World) -> None:
    world.pool.borrow(PoolKey("other", found_rows=False), None).addErrback(lambda failure: None)


def failing(*_: object) -> None:
    raise OSError("made to fail")


def told_a_tracker() -> ClientForm:
    telling = Telling(NOTHING, mariadb=False)
    telling.due = True
    return ClientForm(eof=False, track=True, local_files=True, telling=telling)


ODD: dict[str, Act] = {
    "pinned": to_relays(session__pins=PinReason.USER_LOCK),
    "an unused transaction": to_relays(session__pins=UNUSED_TRANSACTION),
    "an insert id": to_relays(session__insert_id=(1 << 64) - 1),
    "an insert id elsewhere": to_relays(session__insert_id_here=False),
    "an insert id that has moved": to_relays(session__insert_id_moved=True),
    "an insert id that has moved, and others": to_relays(session__insert_id_moved=True, session__insert_id_here=False),
    "another state": to_relays(session__state=lambda: WORLDS[-1].database.states.intern(b"d", True, {})),
    "warnings that are carried": to_relays(session__diagnostics__carried=True),
    "warnings": to_relays(session__diagnostics__remarks=True),
    "unknown found rows": to_relays(session__diagnostics__found_rows=None),
    "found rows here": to_relays(session__diagnostics__found_rows_here=True),
    "found rows counted": to_relays(session__diagnostics__counting=True),
    "no statements": to_relays(session__statements=Statements),
    "a loss to tell": to_relays(lost=errors.SESSION_LOST),
    "something to do behind it": to_relays(_after_ok=lambda: lambda: WORLDS[-1].errors.append("behind it")),
    "traits": to_relays(traits=Trait.DIAGNOSTICS),
    "a slow client": to_relays(slow_client=True),
    "a pin in the log": to_relays(pin_log__logged=PinReason.USER_LOCK),
    "a form of old": to_relays(form=OLD),
    "a tracker to tell": to_relays(form=told_a_tracker),
    "busy": to_relays(busy=True),
    "a beginning of a command": to_clients("_buffer", lambda: bytearray(b"\1")),
    "a large command": to_clients("_large", lambda: PacketReader(1 << 20)),
    "attributes of queries": to_clients("_plain_query", lambda: -1),
    "other handlers": to_clients("_handlers", lambda: HANDLERS_WITH_ATTRIBUTES),
    "something left": with_left,
    "something of others left": with_left_of_others,
    "connections of another state": to_connections("state", lambda one: one.states.intern(b"e", True, {})),
    "connections of no state": to_connections("state", lambda one: None),
    "connections that others have used": to_connections("last_borrower", lambda one: None),
    "connections with attributes": to_connections("has_attributes", lambda one: True),
    "connections without copies": to_connections("copies", lambda one: Copies(4)),
    "copies of other types": with_other_copies,
    "marks of the last reply": with_marks,
    "no alarm": with_an_alarm_gone,
    "a spare": with_a_spare,
    "an opening": in_shelves("opening", 1),
    "an opening, and room for more": both(in_shelves("opening", 1), of_the_books("limit", 9)),
    "a limit that has sunk": of_the_books("limit", 1),
    "a pool that is left": of_the_pool("_left", print),
    "a suspended pool": of_the_pool("_suspended", True),
    "a stopped pool": of_the_pool("_stopped", True),
    "a client that fails": to_relays(deliver=lambda: failing),
    "connections that fail": to_connections("write", lambda one: failing),
    "clocks that fail": to_clients("_seconds", lambda: failing),
    "a pool whose clock fails": of_the_pool("_seconds", failing),
    "a pool that fails": lambda world: setattr(world.clients[0].route, "take", failing),
    "a pool that fails those who wait": lambda world: setattr(world.clients[0].route, "wait", failing),
    "another that waits": with_another_that_waits,
    "another key": with_another_key,
}


MORE = ORDINARY | {
    "other commands that wait": [
        *[lambda world, who=who: world.query(who, b"SELECT 1") for who in range(2)],
        *[lambda world, who=who: world.send(who, FIELDS) for who in range(2, 4)],
        *[lambda world: world.reply(0, rows(1)), lambda world: world.reply(1, rows(1))],
        lambda world: world.reply(0, frame(b"\x03def" + bytes(17), 1) + frame(ok_payload(2, header=0xFE), 2)),
    ]
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("case", MORE)
def test_one_thing_is_odd(case: str, odd: str) -> None:
    """At whatever moment: where a twin did not look for it, what it does would differ."""
    script = MORE[case]
    for moment in range(len(script)):
        check([*script[:moment], ODD[odd], *script[moment:]])


def test_they_are_made_once() -> None:
    assert shortcut.install()
    twins = compiled_helper("rdsproxy.shortcut._twins")
    with pytest.raises(RuntimeError, match="made already"):
        twins.twins()


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, name, _ in shortcut.METHODS])
def test_of_another_type(owner: type, name: str) -> None:
    """As any method of a type: it would look for attributes where there are none."""
    with pytest.raises(TypeError, match="descriptor"):
        getattr(owner, name)(object(), b"")


def test_methods_tell_that_they_have_twins() -> None:
    """Whoever changes one is to know, and to find what has to change with it."""
    top = Path(shortcut.__file__).parent
    marked = [
        (twin, method)
        for file in top.parent.rglob("*.py")
        for twin, method in re.findall(r"# Has a twin in shortcut/(\w+\.c)\.\n *def (\w+)\(", file.read_text())
    ]
    assert len(marked) > 20
    for twin, method in marked:
        named = re.findall(r"/\*(.*?)\*/", (top / twin).read_text(), re.DOTALL)
        assert any(re.search(rf"\b\w+\.{method}\b", comment) for comment in named), (twin, method)
