"""What the trackers of one reply say, taken apart for a session."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rdsproxy.protocol import responses
from rdsproxy.session.transactions import UNTOUCHED, is_begun


class Told(NamedTuple):
    """The changes of one OK. None: not told."""

    variables: tuple[tuple[bytes, bytes], ...]
    schema: bytes | None
    state_change: bool
    locked: bool | None
    """Tables are locked, or certainly are not."""
    untouched: bool | None
    """A transaction was begun by a statement, and has read and written nothing."""
    characteristics: bytes | None
    """The SQL that recreates the transaction that has begun, or what was set for the next one."""
    begun: bool
    """That SQL begins a transaction, and does nothing else."""


@lru_cache(maxsize=512)
def told_by(block: bytes) -> Told:
    """Read a session-track block. Raises ProtocolError. Remembers: the transactions of a workload bring the same."""
    variables: dict[bytes, bytes] = {}
    schema: bytes | None = None
    state_change = False
    locked: bool | None = None
    untouched: bool | None = None
    characteristics: bytes | None = None
    for kind, name, value in responses.parse_changes(block):
        if kind == responses.TRACK_VARIABLE:
            variables[name] = value
        elif kind == responses.TRACK_SCHEMA:
            schema = value
        elif kind == responses.TRACK_STATE_CHANGE:
            state_change = True
        elif kind == responses.TRACK_TRANSACTION_STATE:
            untouched = value == UNTOUCHED
            # Nothing but L and T can be relied on: MySQL takes its L away after TRUNCATE, ALTER and ANALYZE, which
            # leave the tables locked. An explicit transaction (T) does unlock them.
            if value.endswith(b"L"):
                locked = True
            elif value.startswith(b"T"):
                locked = False
        elif kind == responses.TRACK_CHARACTERISTICS:
            characteristics = value
    begun = is_begun(characteristics or b"")
    return Told(tuple(variables.items()), schema, state_change, locked, untouched, characteristics, begun)
