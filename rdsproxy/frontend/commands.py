"""What each command does: answered here, or run on a database connection. One function each.
Those of prepared statements are in `relay.preparing`.

Commands that are not known here (replication, shutdown, the server's debugging) get MySQL's own error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.attributes import split_query
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.reply import FIRST, ROWS, STATISTICS
from rdsproxy.relay import errors, preparing
from rdsproxy.relay.killing import begin_kill
from rdsproxy.relay.resetting import learn_found_rows, reset
from rdsproxy.session.identity import Kill
from rdsproxy.session.statements import UNCOUNTED, Trait

if TYPE_CHECKING:
    from rdsproxy.frontend.connection import ClientConnection
    from rdsproxy.relay.relay import Relay

# What the statement before them has left can be read behind these commands too.
_LEAVES_WARNINGS: Final = Trait.DIAGNOSTICS

Handler = Callable[["ClientConnection", "Relay", bytes, bytes], None]
"""Takes the client, its relay, the packets as they came, and their payload."""


def query(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_QUERY: one or more statements."""
    client.queries += 1
    relay.run(packets, FIRST, relay.session.state.lexer.all_traits(payload[1:]))


def query_with_attributes(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_QUERY of a client with CLIENT_QUERY_ATTRIBUTES."""
    client.queries += 1
    try:
        attributes, text = split_query(payload)
    except ProtocolError:
        client.send_error(errors.MALFORMED)
        client.ready()
        return
    traits = relay.session.state.lexer.all_traits(text)
    if not traits or traits is UNCOUNTED:
        # Nobody looks into it any more.
        relay.attributes = None
        relay.run(packets, FIRST, traits)
    else:
        relay.attributes = attributes
        relay.run(commands.query(text), FIRST, traits)


def init_db(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_INIT_DB: the server's tracker tells the new schema."""
    relay.run(packets, FIRST, Trait.USES | _LEAVES_WARNINGS)


def field_list(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_FIELD_LIST: column definitions up to an EOF, as if they were rows."""
    relay.run(packets, ROWS, UNCOUNTED | _LEAVES_WARNINGS, relay.session.diagnostics.keeping(row_count=False))


def statistics(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STATISTICS: a line of text."""
    relay.run(packets, STATISTICS, _LEAVES_WARNINGS, relay.session.diagnostics.keeping())


def process_info(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_PROCESS_INFO: a result set."""
    relay.run(packets, FIRST, UNCOUNTED | _LEAVES_WARNINGS, relay.session.diagnostics.keeping(row_count=False))


def process_kill(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_PROCESS_KILL: an id of the proxy's is meant for another client, or for this one."""
    kill = Kill(int.from_bytes(payload[1:5], "little"), query=False)
    if not begin_kill(relay, kill):
        relay.run(packets, FIRST)


def ping(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_PING: answered here, so that a health check costs no database connection."""
    relay.counted(0)
    client.send_ok()
    client.ready()


def quit_(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_QUIT: no answer."""
    client.quit()


def set_option(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_SET_OPTION: multi-statements on or off; a part of the session's state."""
    option = int.from_bytes(payload[1:3], "little")
    session = relay.session

    def note() -> None:
        session.state = session.states.with_multi_statements(session.state, option == commands.MULTI_STATEMENTS_ON)

    if len(payload) != 3 or option not in (commands.MULTI_STATEMENTS_ON, commands.MULTI_STATEMENTS_OFF):
        client.send_error(errors.UNKNOWN_COMMAND)
        client.ready()
    elif relay.connection is not None:
        relay.run(packets, FIRST, _LEAVES_WARNINGS, after_ok=note)
    else:
        note()
        relay.counted(-1)
        client.send_ok(eof=True)
        client.ready()


def reset_connection(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_RESET_CONNECTION: ends every pin."""
    reset(relay, client.send_ok)


def change_user(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_CHANGE_USER: the proxy authenticates; the database is asked for FOUND_ROWS() at most, which outlives it."""
    learn_found_rows(relay, lambda: client.change_user(payload))


def bulk_execute(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_BULK_EXECUTE: for clients before MariaDB that asked for it."""
    if client.capabilities & cap.MARIADB_CLIENT_STMT_BULK_OPERATIONS:
        preparing.execute_bulk(client, relay, packets, payload)
    else:
        client.send_error(errors.NOT_PREPARED if preparing.is_mariadb(relay) else errors.UNKNOWN_COMMAND)
        client.ready()


def unknown(client: ClientConnection, relay: Relay, packets: bytes, payload: bytes) -> None:
    """What is not known here."""
    client.send_error(errors.UNKNOWN_COMMAND)
    client.ready()


_KNOWN: Final[dict[int, Handler]] = {
    commands.QUERY: query,
    commands.QUIT: quit_,
    commands.INIT_DB: init_db,
    commands.FIELD_LIST: field_list,
    commands.STATISTICS: statistics,
    commands.PROCESS_INFO: process_info,
    commands.PROCESS_KILL: process_kill,
    commands.PING: ping,
    commands.SET_OPTION: set_option,
    commands.RESET_CONNECTION: reset_connection,
    commands.CHANGE_USER: change_user,
    commands.STMT_PREPARE: preparing.prepare,
    commands.STMT_EXECUTE: preparing.execute,
    commands.STMT_BULK_EXECUTE: bulk_execute,
    commands.STMT_RESET: preparing.reset,
    commands.STMT_FETCH: preparing.fetch,
    commands.STMT_CLOSE: preparing.close,
    commands.STMT_SEND_LONG_DATA: preparing.send_long_data,
}
_WITH_ATTRIBUTES: Final = _KNOWN | {
    commands.QUERY: query_with_attributes,
    commands.STMT_EXECUTE: preparing.execute_with_attributes,
}
HANDLERS: Final = tuple(_KNOWN.get(command, unknown) for command in range(256))
"""What each command does, by its byte."""
HANDLERS_WITH_ATTRIBUTES: Final = tuple(_WITH_ATTRIBUTES.get(command, unknown) for command in range(256))
"""The same for clients with CLIENT_QUERY_ATTRIBUTES."""
