"""Errors that a server would have given, raised there: what can be read of them afterwards is the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.protocol import commands
from rdsproxy.protocol.attributes import NONE
from rdsproxy.protocol.reply import FIRST
from rdsproxy.protocol.responses import Err

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def signal(relay: Relay, err: Err) -> None:
    """End the client's command with this error.

    Its message is in ASCII, without quotes, and not longer than the 128 characters that SIGNAL takes.
    """
    sql = f"SIGNAL SQLSTATE '{err.sqlstate}' SET MYSQL_ERRNO = {err.code}, MESSAGE_TEXT = '{err.message}'"
    # A client that sends attributes along may have left those of its last query as a part of its packets.
    relay.attributes = NONE
    relay.run(commands.query(sql.encode("ascii")), FIRST)
