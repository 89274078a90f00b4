"""The ordinary command takes a shorter way, where there was a C compiler.

Half of what a query costs the proxy is the interpreter's part (docs/benchmarks.md), and no part of that is large by
itself. So the methods that nearly every command and reply go through have compiled twins: from the packet that a client
has sent to the connection that its transaction holds, or that is lent for it, and from the reply back to the client,
the pool, and whoever waits next.

A twin does step by step what its method does for an ordinary command: a COM_QUERY or COM_STMT_EXECUTE with nothing to
be done before it, and a reply that is whole and tells nothing but status flags and a number of rows. It looks before it
touches anything, and for all else calls the method, or the next one on its way, which says what is right. Whatever is
done with and without twins leaves every attribute the same, which tests/shortcut tries.

- `commands.c`: `ClientConnection._commands`, with `preparing.execute` and `Relay.run`
- `sending.c`: `Relay.granted`, with `Again.launch` and `DatabaseConnection.run`
- `replies.c`: `DatabaseConnection._relay`, with `Reply.feed`, `Relay.replied` and `returning.give_back`
- `lending.c`: for both ends, `Pool.wait` and `Pool.give_back`
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.pool.assignment import Assignment, Shelf
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.deadlines import Deadlines
from rdsproxy.pool.durations import BOUNDS, Durations
from rdsproxy.pool.pool import Pool
from rdsproxy.pool.route import Route
from rdsproxy.pool.spares import Spares
from rdsproxy.protocol.reply import ClientForm, Reply
from rdsproxy.protocol.telling import Telling
from rdsproxy.protocol.walk import command_of, whole, with_id
from rdsproxy.relay.behind import Behind
from rdsproxy.relay.pin_log import PinLog
from rdsproxy.relay.preparing import Again, execute
from rdsproxy.relay.relay import Relay
from rdsproxy.relay.returning import give_back
from rdsproxy.session.diagnostics import Diagnostics
from rdsproxy.session.prepared import Copies, Copy, Statement, Statements
from rdsproxy.session.session import Session
from rdsproxy.session.statements import UNCOUNTED

_TYPES: Final = (
    ClientConnection,
    Relay,
    Session,
    Diagnostics,
    Statements,
    Statement,
    Again,
    Behind,
    PinLog,
    DatabaseConnection,
    Reply,
    ClientForm,
    Telling,
    Copies,
    Copy,
    Route,
    Pool,
    Counts,
    Durations,
    Deadlines,
    Spares,
    Assignment,
    Shelf,
)
"""Whose attributes the twins reach, in the order of twins.h."""

METHODS: Final[tuple[tuple[type, str, Callable[..., None]], ...]] = (
    (ClientConnection, "_commands", ClientConnection._commands),
    (Relay, "granted", Relay.granted),
    (DatabaseConnection, "_relay", DatabaseConnection._relay),
)
"""Those that have a twin, themselves."""


@cache
def install() -> bool:
    """Put the twins in the places of the methods, for the whole process. Gives False where they were not built.

    To be called before there are connections: those of before would go on with the methods, and not know them again.
    """
    try:
        from rdsproxy.shortcut import _twins
    except ImportError:
        return False
    commands, granted, relayed = (method for *_, method in METHODS)
    twins = _twins.twins(
        _TYPES,
        commands,
        granted,
        relayed,
        Again.launch,
        command_of,
        execute,
        give_back,
        Assignment.take,
        UNCOUNTED,
        Pool.wait,
        whole,
        with_id,
        BOUNDS,
    )
    for (owner, name, _), twin in zip(METHODS, twins, strict=True):
        setattr(owner, name, twin)
    return True
