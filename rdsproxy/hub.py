"""Reads many sockets at the price of one in the reactor.

The reactor's own dispatch (log context, transport, protocol) costs as much as all the rest of a query: 8 to 10 us of
CPU on the path that a query and its reply take. So the established, unencrypted connections of a proxy wait in an
epoll of their own, which is itself one reader in the reactor. Its sockets are read in a tight loop until none has
anything left, or for a few rounds, so that the reactor's timers and everybody else's connections get their turn.

Where there is no epoll the connections stay with the reactor: slower, otherwise the same.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_ROUNDS: Final = 8
_AT_ONCE: Final = 256  # events taken by one poll


@implementer(IReadDescriptor)
class Hub:
    """The sockets of one proxy, as one reader of its reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        reactor.addReader(self)

    @classmethod
    def of(cls, reactor: Any) -> Self | None:
        """Make one, or None where it cannot work."""
        if hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor):
            return cls(reactor)
        return None

    def add(self, fd: int, readable: Callable[[], None]) -> None:
        """Call `readable`, which must not raise, whenever `fd` can be read, or has failed."""
        if fd not in self._readers:
            self._readers[fd] = readable
            self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Leave `fd` alone from here on. To be called before it is closed."""
        if self._readers.pop(fd, None) is not None:
            # It may be closed, as Twisted does before it tells the protocol: then the epoll has forgotten it by itself.
            with suppress(OSError):
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Leave the reactor."""
        self._reactor.removeReader(self)
        self._readers.clear()
        self._epoll.close()

    # What the reactor calls.

    def fileno(self) -> int:
        """Give the epoll's own descriptor; -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def doRead(self) -> None:
        """Serve the sockets that have something."""
        readers = self._readers
        poll = self._epoll.poll
        for _ in range(_ROUNDS):
            events = poll(0, _AT_ONCE)
            if not events:
                return
            for fd, _event in events:
                # A reader before this one may have removed it.
                readable = readers.get(fd)
                if readable is not None:
                    readable()

    def connectionLost(self, reason: Failure) -> None:
        """Nothing to do: the epoll is not a connection."""

    def logPrefix(self) -> str:
        """Name the reader in Twisted's log."""
        return "rdsproxy.hub"
