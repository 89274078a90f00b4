"""Sockets that do not block."""

from __future__ import annotations

import socket


def received(own: socket.socket, *, peek: bool = False) -> bytes:
    """Give what has arrived, up to a mebibyte; nothing if nothing has. `peek`: and leave it there."""
    try:
        return own.recv(1 << 20, socket.MSG_PEEK if peek else 0)
    except BlockingIOError:
        return b""
