"""What can be wrong with what the other side sent."""

from __future__ import annotations


class ProtocolError(ValueError):
    """The other side sent bytes that its protocol does not allow.

    The message says which packet and what is wrong with it, never its content: that may be a password.
    """


class ServerRefusedError(ProtocolError):
    """The database answered the connection itself with an ERR packet: too many connections, host blocked, ...

    A well-formed packet, but a ProtocolError all the same: for whoever wanted a greeting, it is over.
    """

    def __init__(self, code: int, sqlstate: str, text: str) -> None:
        super().__init__(f"the server refused the connection: {code} ({sqlstate}) {text}")
        self.code = code
        """MySQL's error number."""
        self.sqlstate = sqlstate
        """Five characters; HY000 where the server sent none."""
        self.text = text
        """The server's own message."""


class AuthenticationError(Exception):
    """Authentication cannot go on: an unknown plugin, or one that would expose the password here.

    The message says which plugin and what to do about it.
    """
