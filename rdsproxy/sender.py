"""Sends to a socket at once, without a turn of the reactor, as long as the socket takes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Sender", "SenderPython"]


class SenderPython:
    """To call it with bytes sends them to `fd`, which does not block.

    What that does not take, since it is full or broken, goes to `otherwise`, and so does all that is sent later, until
    `fd` is set again: it is -1 from then on, as it is in the beginning. Has a compiled twin, used when it could be
    built, since this is called for each packet.
    """

    __slots__ = ("_otherwise", "fd")

    def __init__(self, otherwise: Callable[[bytes | bytearray], None], /) -> None:
        self._otherwise = otherwise
        self.fd = -1

    def __call__(self, data: bytes | bytearray, /) -> None:
        """Send `data`."""
        sent = 0
        if self.fd >= 0:
            with suppress(OSError):
                sent = os.write(self.fd, data)
            if sent == len(data):
                return
            self.fd = -1
        self._otherwise(data[sent:] if sent else data)


try:
    from rdsproxy._sender import Sender
except ImportError:
    Sender = SenderPython  # type: ignore[misc, assignment]
