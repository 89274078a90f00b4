"""What must hold while and after a proxy is fed nonsense: others are served, and nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.proxy import Account, Proxy

PATIENCE = 60.0  # seconds


class Control:
    """A client that goes on working, with a session of its own to keep, and notes the first thing that is wrong."""

    def __init__(self, proxy: Proxy, account: Account) -> None:
        self._proxy = proxy
        self._account = account
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.rounds = 0
        self.error: BaseException | None = None

    def _work(self) -> None:
        try:
            self._go_on()
        except BaseException as error:
            self.error = error

    def _go_on(self) -> None:
        connection = self._proxy.connect(self._account, read_timeout=PATIENCE)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET sort_buffer_size = 333333, NAMES latin1")
            while not self._stopping.is_set():
                self.rounds += 1
                cursor.execute(f"SELECT {self.rounds}, @@sort_buffer_size, @@character_set_client")
                assert cursor.fetchall() == ((self.rounds, 333333, "latin1"),)
                cursor.execute("BEGIN")
                cursor.execute(f"INSERT INTO control (a) VALUES ({self.rounds})")
                cursor.execute("SELECT a FROM control")
                assert cursor.fetchall() == ((self.rounds,),)
                cursor.execute("ROLLBACK")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work from the beginning to the end of the block, and raise what went wrong."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()
        if self.error is not None:
            raise self.error
        assert self.rounds > 1


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; what ends the wait is the condition."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def descriptors(proxy: Proxy) -> int:
    """Give the number of open files of the proxy's process."""
    return len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))


def descriptors_beside_the_pool(proxy: Proxy) -> int:
    """Give the number of open files of the proxy's process that are no connections to its server.

    The server's own list would not do: a connection stays there for a while after the proxy has closed it.
    """
    port = f":{proxy.server.port:04X}"
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    pooled = {f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(port)}
    found = 0
    for descriptor in Path(f"/proc/{proxy.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the list was made
            found += str(descriptor.readlink()) not in pooled
    return found
