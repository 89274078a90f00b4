"""What the relay needs of the client's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rdsproxy.protocol.responses import Err

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


class Client(Protocol):
    """A client that has logged in."""

    id: int
    """What the client and others know it by: the connection id of its greeting."""
    queries: int
    """COM_QUERY and COM_STMT_EXECUTE of the client so far."""

    @property
    def log(self) -> Any:
        """The client's logger."""

    def write(self, data: bytes | bytearray) -> None:
        """Send bytes as they are."""

    def send_error(self, err: Err, sequence: int = 1) -> None:
        """Send an ERR packet."""

    def send_ok(self, eof: bool = False) -> None:
        """Send the proxy's own OK, or the EOF that some commands are answered by."""

    def sibling(self, number: int) -> Relay | None:
        """Give the relay of the client with this connection id, who has logged in."""

    def cut(self, err: Err | None = None, reason: str = "killed") -> None:
        """End the connection as a server does: without a word, but for an error that answers the client's own KILL."""

    def ready(self) -> None:
        """The command is done: take the next one."""

    def begin_upload(self) -> None:
        """Hand on what the client sends, until the file has ended."""

    def hold_input(self) -> None:
        """Stop reading from the client."""

    def resume_input(self) -> None:
        """Read again."""

    def fail(self, why: str) -> None:
        """Close: the client can make no sense of what would follow."""
