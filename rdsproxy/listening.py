"""Listen where the configuration says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from rdsproxy.errors import StartError
from rdsproxy.frontend.accepting import accept_few

BACKLOG = 4096
"""Connections that the kernel completes before they are accepted.

Of a crowd above Twisted's 50, some would be connected as far as they know, and wait for a greeting until they give up.
"""


class ListenError(StartError):
    """Nobody can listen there."""

    def __init__(self, description: str, reason: object, errno: int | None = None) -> None:
        super().__init__(f"cannot listen on {description}: {reason}")
        self.reason = str(reason)
        self.errno = errno
        """The system's error number, if it is the system that does not let us."""


def listen(
    description: str,
    factory: IProtocolFactory,
    ports: list[IListeningPort],
    reactor: Any,
    opened: Callable[[IListeningPort], None] = accept_few,
) -> None:
    """Listen on one endpoint, put the port into `ports`, and tell `opened` of it. Raises ListenError.

    Twisted's own endpoints listen at once, so that a failure is known here.
    """
    failures: list[Failure] = []

    def listened(port: IListeningPort) -> None:
        opened(port)
        ports.append(port)

    try:
        listening = serverFromString(reactor, _with_backlog(description)).listen(factory)
    except Exception as error:
        # Parsers of endpoint strings raise what they like: IndexError for a systemd socket that was not passed.
        raise ListenError(description, f"{type(error).__name__}: {error}") from None
    listening.addCallbacks(listened, failures.append)
    if failures:
        failed = failures[0].value
        reason = failed.socketError if isinstance(failed, CannotListenError) else failed
        raise ListenError(description, reason, getattr(reason, "errno", None))


def _with_backlog(description: str) -> str:
    kind, _, arguments = description.removeprefix("haproxy:").partition(":")
    if kind not in ("tcp", "tcp6", "unix") or "backlog=" in arguments:
        return description
    return f"{description}:backlog={BACKLOG}"
