"""How many connections are accepted before those who are there already get their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.tcp import Port

AT_ONCE: Final = 16


def accept_few(port: Any) -> None:
    """Have a listening port of Twisted's accept no more than `AT_ONCE` connections in one turn of the reactor.

    Twisted accepts more in each turn as long as it does not come to the end of the queue: in a flood the turns grow to
    thousands, all of which then want something done in the next one, and a login of the proxy at the database, which
    takes several turns, takes seconds. What is not accepted waits in the kernel.
    """
    if not isinstance(port, Port):
        return  # an endpoint of somebody else's
    read: Callable[[], None] = port.doRead

    def read_few() -> None:
        port.numberAccepts = min(port.numberAccepts, AT_ONCE)
        read()

    port.doRead = read_few  # type: ignore[method-assign]
