"""The commands that bring a connection from the state it is in to the state that a session is in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rdsproxy.protocol import commands
from rdsproxy.session import transactions
from rdsproxy.session.state import (
    CHARACTER_SET_CLIENT,
    CHARACTER_SET_CONNECTION,
    CHARACTER_SET_RESULTS,
    COLLATION_CONNECTION,
    NO_VARIABLES,
    State,
    States,
)
from rdsproxy.session.user_variables import UNSET, unset

_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
_NAME: Final = re.compile(rb"[A-Za-z0-9_.]+")

# Setting the one sets the other too: that has to be put right behind it, changed or not.
_FOLLOWERS: Final = ((CHARACTER_SET_CONNECTION, COLLATION_CONNECTION), (b"max_join_size", b"sql_big_selects"))
_MAY_BE_NULL: Final = frozenset((CHARACTER_SET_RESULTS, b"default_tmp_storage_engine", b"enforce_storage_engine"))

# The connection's collation is set along with its character set: first that, then the collation.
_FIRST: Final[tuple[bytes, ...]] = (CHARACTER_SET_CLIENT, CHARACTER_SET_CONNECTION, CHARACTER_SET_RESULTS)
_LAST: Final[tuple[bytes, ...]] = (COLLATION_CONNECTION,)
_NAMED: Final = frozenset(_FIRST + _LAST)


def plan(current: State, wanted: State, states: States) -> list[bytes] | None:
    """Give the packets that turn `current` into `wanted`; each is answered by one OK or ERR.

    None when no command can do it: a connection that has a schema cannot be told to have none.
    """
    if current.schema and not wanted.schema:
        return None
    packets = _settings(current, wanted, states)
    if not packets and current.transaction == wanted.transaction:
        return packets
    # Some settings would end what is set for the next transaction, or the one that is open: that comes last.
    before = [transactions.END] if current.transaction else []
    return before + packets + transactions.recreate(wanted.transaction)


def _settings(current: State, wanted: State, states: States) -> list[bytes]:
    packets = []
    role = b"" if current.role == wanted.role else wanted.role
    schema = b"" if current.schema == wanted.schema else wanted.schema
    # Names are read in the connection's character set; the servers give them in UTF-8.
    if not (role.isascii() and schema.isascii()):
        packets.append(commands.query(b"SET NAMES utf8mb4"))
        current = states.after_set_names(current, b"utf8mb4")
    if role:
        # Before all that may need its privileges.
        packets.append(commands.query(b"SET ROLE " + role))
    if schema:
        packets.append(commands.init_db(schema))
    changes = differences(current, wanted, states)
    user_variables = _user_variables(current, wanted)
    if changes or user_variables:
        names = _names(changes, wanted, states)
        if names:
            changes = {name: value for name, value in changes.items() if name not in _NAMED}
        packets.append(commands.query(set_statement(changes, names, user_variables)))
    if current.multi_statements != wanted.multi_statements:
        packets.append(commands.set_option(wanted.multi_statements))
    return packets


def differences(current: State, wanted: State, states: States) -> dict[bytes, bytes]:
    """Give the variables that `current` has otherwise than `wanted`, with the values they should have."""
    changes = {name: value for name, value in wanted.variables.items() if current.variables.get(name) != value}
    for name in current.variables:
        if name not in wanted.variables and name in states.baseline:
            changes[name] = states.baseline[name]
    for leader, follower in _FOLLOWERS:
        if leader in changes and follower not in changes:
            value = wanted.variables.get(follower) or states.baseline.get(follower)
            if value:
                changes[follower] = value
    return changes


def _user_variables(current: State, wanted: State) -> dict[bytes, bytes]:
    """Give the user variables to be set, with their values as SQL, those too that `wanted` does not have."""
    if current.user_variables == wanted.user_variables:
        return {}
    gone = current.user_variables.keys() - wanted.user_variables.keys()
    there = current.user_variables
    changes = {name: unset(name) for name in gone}
    changes.update(wanted.user_variables)
    changes = {name: value for name, value in changes.items() if there.get(name, UNSET) != value}
    return {name: unset(name) if value == UNSET else value for name, value in changes.items()}


def _names(changes: dict[bytes, bytes], wanted: State, states: States) -> bytes:
    """Give the NAMES clause that says the same as the variables, or nothing where there is none.

    Column definitions name the collation that came with character_set_results, which no variable shows.
    """
    if _NAMED.isdisjoint(changes):
        return b""
    *character_sets, collation = (wanted.variables.get(name, states.baseline.get(name, b"")) for name in _FIRST + _LAST)
    # A SET of the collation alone changes a character set that the trackers do not tell.
    if len(set(character_sets)) > 1 or not collation.startswith(character_sets[0] + b"_"):
        return b""
    return b"NAMES '" + character_sets[0] + b"' COLLATE '" + collation + b"'"


def set_statement(
    variables: dict[bytes, bytes], first: bytes = b"", user_variables: Mapping[bytes, bytes] = NO_VARIABLES
) -> bytes:
    """Give one SET: `first`, then `variables` (names as the server writes them, values as its trackers do).

    The values of `user_variables` are SQL that means the same under all settings (see `user_variables.literal`).
    """
    names = [name for name in _FIRST if name in variables]
    names += sorted(name for name in variables if name not in _FIRST and name not in _LAST)
    names += [name for name in _LAST if name in variables]
    parts = [first] if first else []
    parts += [b"@@SESSION." + _name(name) + b"=" + _value(name, variables[name]) for name in names]
    parts += [b"@`" + name + b"`=" + value for name, value in sorted(user_variables.items())]
    return b"SET " + b", ".join(parts)


def _name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError("a variable's name has characters that none has")
    return name


def _value(name: bytes, value: bytes) -> bytes:
    if _NUMBER.fullmatch(value):
        return value
    if not value and name in _MAY_BE_NULL:
        return b"NULL"
    if b"'" in value or b"\\" in value or not value.isascii():
        # Means the same under every sql_mode and character set.
        return b"_utf8mb4 X'" + value.hex().encode("ascii") + b"'"
    return b"'" + value + b"'"
