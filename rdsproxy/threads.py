"""Threads for what blocks, and that nothing ever waits for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")


class Threads:
    """Up to `most` threads called `name`. They begin when there is work, and do not keep the process from ending."""

    def __init__(self, name: str, most: int, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = _Daemons(0, most, name)

    def start(self) -> None:
        """Be ready."""
        self._pool.start()

    def run(self, work: Callable[[], Result]) -> Deferred[Result]:
        """Run `work` in one of the threads; fires with what it gives or raises."""
        return deferToThreadPool(self._reactor, self._pool, work)

    def stop(self) -> None:
        """Let the threads end. ThreadPool.stop would wait for them, and with it the reactor."""
        self._pool.adjustPoolsize(0, 0)


class _Daemon(Thread):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more, daemon=True)


class _Daemons(ThreadPool):
    threadFactory = _Daemon
