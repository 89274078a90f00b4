"""A network of its own for a server, joined to the machine by a cable that can be cut: packets get lost in silence.

Needs root and ``ip`` and ``tc`` (Debian package iproute2).
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from itertools import count
from typing import Self

from rdsproxy.demo.server import ServerMissingError, tied_to_us

_numbers = count(1)

_FAR = "cable"


class NamespaceError(RuntimeError):
    """No namespace can be made here; the message says why."""


class Namespace:
    """``with Namespace() as there: MariaDB(host=there.host, inside=there.inside)``.

    ``there.host`` is its address, ``there.outside`` the machine's as seen from there. It has no name, so it lives as
    long as a process does in it, and all of these end with this process, even if that is killed. Servers in
    it are reached through their Unix sockets at any time. Two namespaces do not reach each other.
    """

    def __init__(self) -> None:
        self.host = ""
        self.outside = ""
        self.inside: list[str] = []
        """What to put before a command that shall run in it."""
        self.device = f"rdsp{os.getpid()}n{next(_numbers)}"  # Linux allows 15 characters
        """The machine's end of the cable."""

    def __enter__(self) -> Self:
        """Make it; NamespaceError where that cannot be done."""
        try:
            self._holder = subprocess.Popen(
                [*tied_to_us("KILL"), "unshare", "--net", "sh", "-c", "echo ready && exec sleep infinity"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,  # Ctrl-C in the terminal goes to us
            )
        except ServerMissingError as error:
            raise NamespaceError(str(error)) from error
        try:
            assert self._holder.stdout is not None
            if not self._holder.stdout.readline():
                raise NamespaceError(self._holder.communicate()[1].strip())
            self.inside = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
            self._lay_cable()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lay_cable(self) -> None:
        # Four addresses of RFC 2544's network, which is for tests of equipment.
        first = random.randrange(0, 1 << 17, 4)
        network = f"198.{18 + (first >> 16)}.{first >> 8 & 255}"
        self.outside, self.host = (f"{network}.{(first & 255) + number}" for number in (1, 2))
        _run("ip", "link", "add", self.device, "type", "veth", "peer", "name", _FAR, "netns", str(self._holder.pid))
        for at, device, address in self._ends():
            _run(*at, "ip", "address", "add", f"{address}/30", "dev", device)
            _run(*at, "ip", "link", "set", device, "up")

    def _ends(self) -> list[tuple[list[str], str, str]]:
        """Give for each end of the cable where it is, its device and its address."""
        return [([], self.device, self.outside), (self.inside, _FAR, self.host)]

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(NamespaceError):
            _run("ip", "link", "delete", self.device)  # both ends, also while a process is left inside
        self._holder.kill()
        self._holder.communicate()

    def cut(self) -> None:
        """Lose all packets, in both directions."""
        for at, device, _ in self._ends():
            # A queue that loses what is put into it. Every kernel with queues has this one, netem is a module.
            _run(*at, "tc", "qdisc", "replace", "dev", device, "root", "blackhole")

    def mend(self) -> None:
        """Lose no more packets."""
        for at, device, _ in self._ends():
            _run(*at, "tc", "qdisc", "delete", "dev", device, "root")


def _run(*command: str) -> None:
    # Debian keeps both in /usr/sbin, which is not in every user's PATH.
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        raise NamespaceError(f"{command[0]} is missing (Debian packages iproute2, util-linux)") from None
    if done.returncode:
        raise NamespaceError(f"{' '.join(command)}: {done.stderr.strip()}")
