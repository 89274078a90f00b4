"""LOAD DATA LOCAL: the client's file, on its way to the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.relay import errors

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def upload(relay: Relay, data: bytes) -> bytes | None:
    """Hand on a part of the client's file. Gives None until it has ended, then what came behind it.

    Raises ProtocolError for packets out of order.
    """
    reader, connection = relay.uploading, relay.connection
    if reader is None or connection is None:
        # The database was lost meanwhile: the rest of the file goes nowhere.
        return _swallow(relay, data)
    out = reader.feed(data)
    if out:
        connection.write(out)
    if not reader.done:
        return None
    relay.uploading = None
    connection.reply.uploaded(reader.packets)
    return reader.rest


def _swallow(relay: Relay, data: bytes) -> bytes | None:
    reader = relay.uploading
    assert reader is not None
    reader.feed(data)
    if not reader.done:
        return None
    relay.uploading = None
    relay.client.send_error(errors.LOST, reader.next_sequence)
    relay.done()
    return reader.rest
