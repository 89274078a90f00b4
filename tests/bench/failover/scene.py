"""Where a failover takes place: a primary and its replica, new for each run, and the network before them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.failover.dns import NameServer
from tests.failover.namespace import Namespace, NamespaceError
from tests.failover.network import TcpRelay
from tests.failover.replication import Place, ReplicationSet
from tests.servers import DatabaseServer, ServerError, free_port

Network = Literal["plain", "cable", "name"]
"""``cable``: the network before the primary can be cut. ``name``: clients know a name alone, and both servers have the
same port."""
Address = tuple[str, int]

NAME = "writer.bench.example"


@dataclass
class Scene:
    """Two servers that replicate; ``old`` is the primary in the beginning."""

    servers: ReplicationSet[DatabaseServer]
    addresses: dict[DatabaseServer, Address]
    """Where clients find each server, ``old`` first."""
    names: NameServer | None
    """Tells the address of NAME, if clients know that alone."""
    cut: Callable[[], None]
    """Cut the network before ``old``."""
    mend: Callable[[], None]
    writable: float | None = None
    """When the new primary began to accept writes, of ``time.monotonic``; None: not yet."""
    _shutting_down: threading.Thread | None = None

    @property
    def old(self) -> DatabaseServer:
        """The first primary."""
        return self.servers.servers[0]

    @property
    def new(self) -> DatabaseServer:
        """The first replica."""
        return self.servers.servers[1]

    @property
    def writer(self) -> Address:
        """Where clients find the primary."""
        return self.addresses[self.servers.primary]

    def promote(self) -> None:
        """Make ``new`` the primary without asking ``old``."""
        self.servers.promote(on_writable=self._is_writable)
        if self.names is not None:
            self.names.set(NAME, self.new.host)

    def switch_over(self) -> None:
        """Exchange the roles."""
        self.servers.switch_over(on_writable=self._is_writable)

    def shut_down(self) -> None:
        """Begin to shut down ``old`` in order."""
        self._shutting_down = threading.Thread(target=self.old.stop)
        self._shutting_down.start()

    def _is_writable(self) -> None:
        self.writable = time.monotonic()

    def bury(self) -> None:
        """Kill ``old`` where it does not serve any more, so that whoever still has a connection there knows."""
        if self._shutting_down is not None:
            # It may take its time; nobody waits for that any more.
            with contextlib.suppress(ServerError, ProcessLookupError):
                os.kill(self.old.pid, signal.SIGKILL)
            self._shutting_down.join()
        elif self.servers.primary is not self.old and self.old not in self.servers.replicas:
            self.old.kill()
        self.mend()


@contextmanager
def make_scene(kind: type[DatabaseServer], network: Network) -> Iterator[Scene]:
    """Start the servers, in the main thread; kill them in the end."""
    places: list[Place] = []
    names = there = None
    with ExitStack() as stack:
        if network == "name":
            port = free_port()
            places = [Place("127.0.0.2", port), Place("127.0.0.3", port)]
            names = stack.enter_context(NameServer())
            names.set(NAME, places[0].host)
        elif network == "cable":
            try:
                there = stack.enter_context(Namespace())
                places = [Place(there.host, inside=there.inside), Place(there.outside)]
            except NamespaceError:
                pass  # not root, as a rule: a relay that passes nothing is nearly as good
        servers = stack.enter_context(ReplicationSet(kind, places=places))
        addresses = {server: (server.host, server.port) for server in servers.servers}
        cut = mend = _nothing
        if there is not None:
            cut, mend = there.cut, there.mend
        elif network == "cable":
            relay = stack.enter_context(TcpRelay(servers.primary.host, servers.primary.port))
            addresses[servers.primary] = (relay.host, relay.port)
            cut, mend = relay.freeze, relay.thaw
        yield Scene(servers, addresses, names, cut, mend)


def packets_can_be_dropped() -> bool:
    """Tell whether a network is cut by losing packets; otherwise it is by a relay that passes nothing."""
    try:
        with Namespace():
            return True
    except NamespaceError:
        return False


def _nothing() -> None:
    pass
