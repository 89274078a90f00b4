"""How a crowd at the port is let in bit by bit, and who is sent away before anything is made for them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN
from typing import Any, Final, Self

from twisted.internet.tcp import Port

AT_ONCE: Final = 16
"""Connections that are accepted before those who are there already get their turn."""

Porter = Callable[[str], bytes | None]
"""Gives what somebody from this address (empty: a Unix socket) is sent away with; None: they may come in."""


def accept_few(port: Any) -> None:
    """Do as `post`, for a port where everybody may come in."""
    post(port, lambda host: None)


def post(port: Any, porter: Porter) -> bool:
    """Have a listening port of Twisted's accept no more than `AT_ONCE` connections in one turn of the reactor.

    Twisted accepts more in each turn as long as it does not come to the end of the queue: in a flood the turns grow to
    thousands, all of which then want something done in the next one, and a login of the proxy at the database, which
    takes several turns, takes seconds. What is not accepted waits in the kernel.

    `porter` is asked about each. Gives False for a port of somebody else's, which is left as it is.
    """
    if not isinstance(port, Port):
        return False
    door = port.socket = _Post.instead_of(port.socket, porter)
    port.fileno = door.fileno  # type: ignore[method-assign]
    read: Callable[[], None] = port.doRead

    def read_few() -> None:
        door.left = AT_ONCE
        read()

    port.doRead = read_few  # type: ignore[method-assign]
    return True


class _Post(socket.socket):
    """A listening socket that sends people away by itself: to Twisted they have never been there.

    To make a transport and a protocol for somebody, only to close them, is most of what it costs to send them away.
    """

    _porter: Porter
    left = 0
    """How many more it accepts in this turn."""

    @classmethod
    def instead_of(cls, listening: socket.socket, porter: Porter) -> Self:
        """Take over the socket that listens."""
        post = cls(listening.family, listening.type, listening.proto, listening.detach())
        post.setblocking(False)
        post._porter = porter
        return post

    def accept(self) -> tuple[socket.socket, Any]:
        """Give the next connection of somebody who may come in. Raises BlockingIOError when there is none for now."""
        while self.left > 0:
            self.left -= 1
            connection, address = super().accept()
            # That of a Unix socket is no tuple.
            word = self._porter(address[0] if isinstance(address, tuple) else "")
            if word is None:
                return connection, address
            with connection, suppress(OSError):
                connection.send(word)
        raise BlockingIOError(EAGAIN, "enough for this turn")
