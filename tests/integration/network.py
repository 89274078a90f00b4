"""What tests do with connections besides using them: wait, look on from the kernel's side, stand in between."""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

Found = TypeVar("Found")

PATIENCE = 30.0  # seconds


def until(condition: Callable[[], Found], what: str, timeout: float = PATIENCE) -> Found:
    """Give what `condition` gives as soon as that is true; fail when it does not become so."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)  # between two looks
    return found


def wait_until_read(sock: socket.socket) -> None:
    """Return when the other side, on this machine, has read all that was sent over TCP connection `sock`."""
    ours, theirs = (_in_proc(*sock.getsockname()[:2]), _in_proc(*sock.getpeername()[:2]))

    def is_read() -> bool:
        sent = received = False
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            sending, receiving = queues.split(":")
            if (local, remote) == (ours, theirs):
                sent = not int(sending, 16)
            elif (local, remote) == (theirs, ours):
                received = not int(receiving, 16)
        return sent and received

    until(is_read, "the other side reads what was sent")


def wait_until_stuck(sock: socket.socket) -> None:
    """Return when the other side of `sock` reads no more of what is being sent."""
    before, looks = 0, 0

    def is_stuck() -> bool:
        nonlocal before, looks
        (unsent,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
        looks = looks + 1 if unsent == before > 0 else 0
        before = unsent
        return looks == 20

    until(is_stuck, "the other side stops reading")


def wait_until_closed(near: tuple[str, int], far: tuple[str, int]) -> None:
    """Return when the side at `far` has closed its TCP connection to `near`, which has closed it before."""
    ours, theirs = _in_proc(*near), _in_proc(*far)

    def is_closed() -> bool:
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return not any((local, remote) == (theirs, ours) for _, local, remote, *_ in lines)

    until(is_closed, "the other side closes the connection")


def is_kept_alive(near: tuple[str, int], far: tuple[str, int]) -> bool:
    """Tell whether the side at `far` asks, while all is silent, if its peer at `near` is still there."""
    ours, theirs = _in_proc(*near), _in_proc(*far)
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(line[5].startswith("02:") for line in lines if (line[1], line[2]) == (theirs, ours))


def _in_proc(host: str, port: int) -> str:
    # IPv4 addresses stand there in the order of a little-endian machine.
    return f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"


def commands_in(heard: bytes | bytearray) -> list[bytes]:
    """Give the first packet of each command in what a client has said, from its login on, without TLS."""
    found = []
    position = 0
    while position < len(heard):
        size, sequence = int.from_bytes(heard[position : position + 3], "little"), heard[position + 3]
        position += 4
        if not sequence:
            found.append(bytes(heard[position : position + size]))
        position += size
    return found


class Forwarder:
    """Stands between the proxy and a server, or a client and the proxy: keeps what both say, can cut the connections.

    `insert` is given each piece that the server says, and may give more than that to the proxy.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int, insert: Callable[[bytes], bytes] = lambda data: data) -> None:
        self._target = (host, port)
        self._insert = insert
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.said: list[bytearray] = []
        """What the server said, by connection, in the order of connecting."""
        self.heard: list[bytearray] = []
        """What it was told, likewise."""
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        # close alone does not wake a thread that waits in accept
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)

    def cut(self) -> None:
        """End all connections."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            said, heard = bytearray(), bytearray()
            self.said.append(said)
            self.heard.append(heard)
            self._begin(self._pass_on, near, said, heard)

    def _pass_on(self, near: socket.socket, said: bytearray, heard: bytearray) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {near, far}
            try:
                while True:
                    for sock in select.select([near, far], [], [])[0]:
                        data = sock.recv(1 << 16)
                        if not data:
                            return
                        if sock is far:
                            said += data
                            near.sendall(self._insert(data))
                        else:
                            heard += data
                            far.sendall(data)
            finally:
                self._open -= {near, far}
