"""The loop that reads established connections: the compiled one and the one in Python do the same."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from rdsproxy import hub
from rdsproxy.wire import Wire, Wires
from tests.compiled import compiled_helper
from tests.sockets import received

Serve = Callable[[select.epoll, dict[int, Any], int], bool]
NEVER = 60_000  # milliseconds


@pytest.fixture(params=["compiled", "python"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Give either loop."""
    if request.param == "python":
        return hub.serve_python
    loop: Serve = compiled_helper("rdsproxy._serve").serve
    return loop


class End:
    """One end of a connection, which notes what it is told."""

    def __init__(self, own: socket.socket) -> None:
        self.socket = own
        self.recv = own.recv
        self.told: list[Any] = []
        self.raises: BaseException | None = None
        self.also: Callable[[], Any] = lambda: None

    def receive(self, data: bytes) -> None:
        self.told.append(data)
        self.also()
        if self.raises is not None:
            raise self.raises

    def read_ended(self) -> None:
        self.told.append("ended")
        self.also()
        if self.raises is not None:
            raise self.raises

    def read_failed(self, error: Exception) -> None:
        self.told.append(error)


class Ends:
    """Ends in one epoll, and the other sides of their connections."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.readers: dict[int, End] = {}
        self._others: list[socket.socket] = []

    def pair(self) -> tuple[End, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        end = self.readers[ours.fileno()] = End(ours)
        self.epoll.register(ours.fileno(), select.EPOLLIN)
        self._others.append(theirs)
        return end, theirs

    def close(self) -> None:
        for end in self.readers.values():
            end.socket.close()
        for other in self._others:
            other.close()
        self.epoll.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def test_the_compiled_loop_is_the_one_in_use() -> None:
    assert hub.serve is compiled_helper("rdsproxy._serve").serve


def test_nothing_to_read(serve: Serve, ends: Ends) -> None:
    end, _ = ends.pair()
    assert serve(ends.epoll, ends.readers, 0) is False
    assert serve(ends.epoll, ends.readers, 1) is False
    assert end.told == []


def test_each_is_read_once(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(300)]
    for number, (_, other) in enumerate(pairs):
        other.send(b"x" * (number + 1))
    # No more than 256 are taken at a time.
    assert serve(ends.epoll, ends.readers, NEVER) is True
    assert sum(len(end.told) for end, _ in pairs) == 256
    assert serve(ends.epoll, ends.readers, NEVER) is True
    assert [end.told for end, _ in pairs] == [[b"x" * (number + 1)] for number in range(300)]
    assert serve(ends.epoll, ends.readers, 0) is False


def test_what_does_not_fit_comes_with_the_next(serve: Serve, ends: Ends) -> None:
    end, other = ends.pair()
    data = bytes(range(256)) * 300
    other.sendall(data)
    while serve(ends.epoll, ends.readers, 0):
        pass
    assert len(end.told) == 2
    assert b"".join(end.told) == data


def test_the_other_side_closes(serve: Serve, ends: Ends) -> None:
    end, other = ends.pair()
    other.send(b"last")
    other.close()
    assert serve(ends.epoll, ends.readers, NEVER)
    assert serve(ends.epoll, ends.readers, NEVER)
    assert end.told == [b"last", "ended"]


def test_a_broken_connection_has_ended(serve: Serve, ends: Ends) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    end = ends.readers[ours.fileno()] = End(ours)
    ends.epoll.register(ours.fileno(), select.EPOLLIN)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    other.close()
    assert serve(ends.epoll, ends.readers, NEVER)
    assert end.told == ["ended"]


def test_one_that_raises_is_told_and_the_others_are_served(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(3)]
    error = pairs[1][0].raises = ValueError("of the second")
    for _, other in pairs:
        other.send(b"hello")
    assert serve(ends.epoll, ends.readers, NEVER)
    assert [end.told for end, _ in pairs] == [[b"hello"], [b"hello", error], [b"hello"]]
    assert error.__traceback__ is not None


def test_one_that_raises_at_its_end_is_told_and_the_others_are_served(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(3)]
    error = pairs[1][0].raises = ValueError("of the second")
    pairs[1][1].close()
    for _, other in (pairs[0], pairs[2]):
        other.send(b"hello")
    assert serve(ends.epoll, ends.readers, NEVER)
    assert [end.told for end, _ in pairs] == [[b"hello"], ["ended", error], [b"hello"]]


def test_an_interrupt_gets_through(serve: Serve, ends: Ends) -> None:
    end, other = ends.pair()
    end.raises = KeyboardInterrupt()
    other.send(b"hello")
    with pytest.raises(KeyboardInterrupt):
        serve(ends.epoll, ends.readers, NEVER)
    assert end.told == [b"hello"]


def test_one_may_remove_another(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(2)]
    left = dict(ends.readers)
    for end, other in pairs:
        end.also = left.clear
        other.send(b"hello")
    assert serve(ends.epoll, left, NEVER)
    assert sorted(len(end.told) for end, _ in pairs) == [0, 1]


def test_one_may_put_another_in_the_place_of_a_third(serve: Serve, ends: Ends) -> None:
    """A descriptor that is closed may be a new connection's at once: what the old one was sent is not for that."""
    pairs = [ends.pair() for _ in range(2)]
    new, _ = ends.pair()

    own = {end.socket.fileno(): end for end, _ in pairs}

    def replace() -> None:
        for fd in own:
            own[fd] = new

    for end, other in pairs:
        end.also = replace
        other.send(b"hello")
    assert serve(ends.epoll, own, NEVER)
    assert sorted(len(end.told) for end, _ in pairs) == [0, 1]
    assert new.told == []


def test_ends_come_first(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(4)]
    order: list[int] = []
    for number, (end, other) in enumerate(pairs):
        end.also = partial(order.append, number)
        if number % 2:
            other.close()
        else:
            other.send(b"hello")
    assert serve(ends.epoll, ends.readers, NEVER)
    assert [end.told for end, _ in pairs] == [[b"hello"], ["ended"]] * 2
    assert order == [1, 3, 0, 2]


def test_all_are_read_before_any_of_it_is_dealt_with(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(3)]
    there: list[bytes] = []
    for end, other in pairs:
        end.also = lambda: there.extend(received(end.socket) for end, _ in pairs)
        other.send(b"hello")
    assert serve(ends.epoll, ends.readers, NEVER)
    assert there == [b""] * 9


def test_not_more_is_read_ahead_than_the_caches_hold(serve: Serve, ends: Ends) -> None:
    pairs = [ends.pair() for _ in range(16)]
    there: list[int] = []

    def look() -> None:
        there.append(sum(len(received(end.socket, peek=True)) > 0 for end, _ in pairs))

    for end, other in pairs:
        end.also = look
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
        other.setblocking(False)
        assert other.send(bytes(1 << 16)) == 1 << 16
    assert serve(ends.epoll, ends.readers, NEVER)
    assert there == [12] * 4 + [8] * 4 + [4] * 4 + [0] * 4


def test_a_read_that_would_block_is_no_event(serve: Serve, ends: Ends) -> None:
    # Two names for one socket, of which there are two events.
    end, other = ends.pair()
    again = End(end.socket.dup())
    again.socket.setblocking(False)
    again.recv = again.socket.recv
    ends.readers[again.socket.fileno()] = again
    ends.epoll.register(again.socket.fileno(), select.EPOLLIN)
    other.send(b"hello")
    assert serve(ends.epoll, ends.readers, NEVER)
    assert sorted(len(one.told) for one in (end, again)) == [0, 1]


def test_a_closed_epoll_is_refused(serve: Serve, ends: Ends) -> None:
    ends.epoll.close()
    with pytest.raises(ValueError, match="closed"):
        serve(ends.epoll, ends.readers, 0)


# -- the hub in its reactor --------------------------------------------------------------------------------------------


class Watching:
    """A reactor that notes who reads in it."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove


@pytest.fixture
def reactor() -> Watching:
    return Watching()


@pytest.fixture
def own(reactor: Watching) -> Iterator[hub.Hub]:
    own = hub.Hub(reactor)
    yield own
    own.close()
    assert reactor.readers == []


def test_the_reactor_gets_its_turn_however_much_there_is(own: hub.Hub, ends: Ends) -> None:
    end, other = ends.pair()
    end.also = lambda: other.send(b"again")
    own.add(end.socket.fileno(), end)
    other.send(b"begin")
    own.doRead()
    own.doRead()
    assert end.told[0] == b"begin"
    assert set(end.told[1:]) == {b"again"}


def test_a_pause(own: hub.Hub, ends: Ends) -> None:
    """What was read before it is handed on; what comes later waits."""
    pairs = [ends.pair() for _ in range(2)]
    for end, other in pairs:
        own.add(end.socket.fileno(), end)
        other.send(b"before")

    def pause() -> None:
        for end, _ in pairs:
            own.pause(end.socket.fileno())

    for end, _ in pairs:
        end.also = pause
    own.doRead()
    for _, other in pairs:
        other.send(b"in it")
    own.doRead()
    assert [end.told for end, _ in pairs] == [[b"before"]] * 2
    own.pause(pairs[0][0].socket.fileno())
    for _ in range(2):
        own.resume(pairs[0][0].socket.fileno())
    pairs[0][0].also = lambda: None
    own.doRead()
    assert [end.told for end, _ in pairs] == [[b"before", b"in it"], [b"before"]]
    own.remove(pairs[1][0].socket.fileno())
    own.add(pairs[1][0].socket.fileno(), pairs[1][0])
    own.doRead()
    assert pairs[1][0].told == [b"before", b"in it"]


def test_a_hub_closed_by_a_reader_reads_no_more(reactor: Watching, ends: Ends) -> None:
    own = hub.Hub(reactor)
    end, other = ends.pair()
    own.add(end.socket.fileno(), end)
    end.also = own.close
    other.send(b"stop")
    own.doRead()
    assert end.told == [b"stop"]
    assert own.fileno() == -1


class Transport:
    """As much of one as a wire needs to change over to the hub."""

    def __init__(self, fd: int) -> None:
        self.fileno = lambda: fd
        self.unregisterProducer = self.stopReading = self.startReading = self.abortConnection = lambda: None
        self.registerProducer = lambda producer, streaming: None
        self.write = lambda data: None


def test_the_hub_knows_whether_others_wait_in_the_reactor(own: hub.Hub, ends: Ends) -> None:
    wires = Wires(own, None)
    connections = []
    for _ in range(3):
        wire = Wire(wires)
        end, _other = ends.pair()
        wire.recv = end.recv
        wire.receive = end.receive
        wire.makeConnection(Transport(end.socket.fileno()))  # type: ignore[no-untyped-call]
        wire._fd = end.socket.fileno()
        connections.append(wire)
    assert own.outside == 3
    for wire in connections:
        wire.join_hub(after=1)
    connections[0].dataReceived(b"moves over")
    connections[1].dataReceived(b"so does this one")
    assert own.outside == 1
    connections[1].read_ended()
    assert own.outside == 2
    connections[0].abort()
    assert own.outside == 3
    for wire in connections:
        wire.connectionLost()
    assert own.outside == 0
