"""The state of a session that can be written back on another connection, as a value.

A `State` is what makes a session differ from a fresh connection of its pool. Equal states are one object, so that
"does this idle connection fit?" is a comparison of identities.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from rdsproxy.protocol.telling import NOTHING, Settings
from rdsproxy.session.statements import Lexer, Lexers
from rdsproxy.session.watching import Watch

CHARACTER_SET_CLIENT: Final = b"character_set_client"
CHARACTER_SET_CONNECTION: Final = b"character_set_connection"
CHARACTER_SET_RESULTS: Final = b"character_set_results"
COLLATION_CONNECTION: Final = b"collation_connection"
SQL_MODE: Final = b"sql_mode"
_CHARACTER_SETS: Final = frozenset(
    (CHARACTER_SET_CLIENT, CHARACTER_SET_CONNECTION, CHARACTER_SET_RESULTS, COLLATION_CONNECTION)
)
_OF_PARAMETERS: Final = (CHARACTER_SET_CLIENT, CHARACTER_SET_CONNECTION, COLLATION_CONNECTION)

NO_VARIABLES: Final[Mapping[bytes, bytes]] = MappingProxyType({})


class State:
    """A schema (empty: none), the multi-statement option, and the variables that differ from the baseline.

    Compare by identity: `States` gives one object for equal states.
    """

    __slots__ = (
        "__weakref__",
        "_settings",
        "charset",
        "lexer",
        "multi_statements",
        "role",
        "schema",
        "transaction",
        "user_variables",
        "variables",
    )

    def __init__(
        self,
        schema: bytes,
        multi_statements: bool,
        variables: Mapping[bytes, bytes],
        lexer: Lexer,
        user_variables: Mapping[bytes, bytes],
        role: bytes,
        transaction: bytes,
        settings: State | None,
    ) -> None:
        self.schema = schema
        self.multi_statements = multi_statements
        self.variables = variables
        self.charset = tuple(map(variables.get, _OF_PARAMETERS))
        """What the server takes the text in a parameter for, from when it is told the parameter's type."""
        self.lexer = lexer
        """Reads statements as the server does in this state."""
        self.user_variables = user_variables
        """Their names, in lower case, and the SQL that gives each its value again.

        One that is NULL is among them if the session has named it: it knows then what the server has to say of it.
        """
        self.role = role
        """The roles that are active, as SET ROLE takes them; empty: the server has no roles."""
        self.transaction = transaction
        """The SQL that makes again what was set for the next transaction, or one in which nothing has been done."""
        self._settings = settings

    @property
    def settings(self) -> State:
        """The state without user variables and transaction; itself if it has neither."""
        return self._settings or self

    def __repr__(self) -> str:
        return (
            f"State(schema={self.schema!r}, multi_statements={self.multi_statements}, {dict(self.variables)!r}, "
            f"{dict(self.user_variables)!r}, role={self.role!r}, transaction={self.transaction!r})"
        )


@dataclass(frozen=True, slots=True)
class Collation:
    """One row of SHOW COLLATION."""

    name: bytes
    character_set: bytes


class States:
    """The states of the sessions of one pool, told apart from the `baseline`.

    `baseline`: each session variable and its value on a fresh connection, as SHOW SESSION VARIABLES gave them.
    `defaults`: the server's default character sets. `reset_keeps_charset`: COM_RESET_CONNECTION brings back those of
    the handshake, as on MariaDB, in place of the defaults, as on MySQL. `quiet_errors`: what the trackers saw of a
    statement that failed is not told with the next reply, as on MariaDB.
    `pin_untracked_sets`: a SET that no tracker reports holds the session on its connection.
    `tracking`: what the trackers tell a client at first, by the server's settings.
    `role`: the roles with which connections begin; see `State.role`.
    `collations`: by the id that a client's handshake carries.
    """

    def __init__(
        self,
        baseline: Mapping[bytes, bytes],
        collations: Mapping[int, Collation],
        lexers: Lexers,
        defaults: Mapping[bytes, bytes] = MappingProxyType({}),
        *,
        reset_keeps_charset: bool = False,
        quiet_errors: bool = False,
        pin_untracked_sets: bool = True,
        tracking: Settings = NOTHING,
        role: bytes = b"",
    ) -> None:
        self.baseline = baseline
        self.defaults = defaults
        self.reset_keeps_charset = reset_keeps_charset
        self.asks_found_rows = Watch()
        """For FOUND_ROWS() of statements whose number nothing tells."""
        self.asks_conditions = Watch()
        """For what GET DIAGNOSTICS tells of warnings and SHOW WARNINGS does not."""
        self.quiet_errors = quiet_errors
        self.pin_untracked_sets = pin_untracked_sets
        self.tracking = tracking
        self.role = role
        self._collations = collations
        self.lexers = lexers
        self._known: WeakValueDictionary[Hashable, State] = WeakValueDictionary()
        self.openings: dict[tuple[bytes, int, int], State] = {}
        """The states in which clients began, by schema, collation id and capabilities."""
        self.fresh = self.intern(b"", True, {})
        """The state of a connection that was just opened: no schema, multi-statements allowed."""

    def intern(
        self,
        schema: bytes,
        multi_statements: bool,
        variables: Mapping[bytes, bytes],
        user_variables: Mapping[bytes, bytes] = NO_VARIABLES,
        role: bytes | None = None,
        transaction: bytes = b"",
    ) -> State:
        """Give the one object for this state. `variables` equal to the baseline do not count. `role`: None as new."""
        baseline = self.baseline
        if role is None:
            role = self.role
        differing = {name: value for name, value in variables.items() if baseline.get(name) != value}
        key = (
            schema,
            multi_statements,
            tuple(sorted(differing.items())),
            tuple(sorted(user_variables.items())),
            role,
            transaction,
        )
        state = self._known.get(key)
        if state is None:
            lexer = self.lexers.choose(
                differing.get(SQL_MODE, baseline.get(SQL_MODE, b"")),
                differing.get(CHARACTER_SET_CLIENT, baseline.get(CHARACTER_SET_CLIENT, b"")),
                watching=bool(user_variables),
            )
            settings = None
            if user_variables or transaction:
                settings = self.intern(schema, multi_statements, differing, role=role)
            state = State(
                schema,
                multi_statements,
                MappingProxyType(differing),
                lexer,
                MappingProxyType(dict(user_variables)),
                role,
                transaction,
                settings,
            )
            self._known[key] = state
        return state

    def of_client(self, schema: bytes, multi_statements: bool, collation_id: int) -> State:
        """Give the state in which a client begins that asked for `collation_id` in its handshake.

        An id that the server does not have counts as the server's default, as the server itself does it.
        """
        collation = self._collations.get(collation_id)
        variables: dict[bytes, bytes] = dict(self.defaults)
        if collation is not None:
            variables = {
                CHARACTER_SET_CLIENT: collation.character_set,
                CHARACTER_SET_CONNECTION: collation.character_set,
                CHARACTER_SET_RESULTS: collation.character_set,
                COLLATION_CONNECTION: collation.name,
            }
        return self.intern(schema, multi_statements, variables)

    def character_set_results(self, state: State) -> bytes:
        """Give the character set of texts in rows; empty: each in its own."""
        name = CHARACTER_SET_RESULTS
        return state.variables.get(name, self.baseline.get(name, b"")).lower()

    def after_reset(self, state: State, opening: State) -> State:
        """Give what COM_RESET_CONNECTION makes of `state`, in a session that began as `opening`.

        Schema, multi-statement option and roles stay.
        """
        variables = self.defaults
        if self.reset_keeps_charset:
            variables = {name: value for name, value in opening.variables.items() if name in _CHARACTER_SETS}
        return self.intern(state.schema, state.multi_statements, variables, role=state.role)

    def with_schema(self, state: State, schema: bytes) -> State:
        """Give `state` with another schema."""
        return self._changed(state, schema=schema)

    def with_multi_statements(self, state: State, allowed: bool) -> State:
        """Give `state` with the multi-statement option turned on or off."""
        return self._changed(state, multi_statements=allowed)

    def with_variables(self, state: State, variables: Mapping[bytes, bytes]) -> State:
        """Give `state` with these variables set."""
        return self._changed(state, variables={**state.variables, **variables})

    def with_user_variables(self, state: State, changes: Mapping[bytes, bytes]) -> State:
        """Give `state` with these user variables set: names in lower case, values as SQL."""
        return self._changed(state, user_variables={**state.user_variables, **changes})

    def with_role(self, state: State, role: bytes) -> State:
        """Give `state` with other roles active."""
        return self._changed(state, role=role)

    def with_transaction(self, state: State, transaction: bytes) -> State:
        """Give `state` with something else set for the next transaction, or begun."""
        return self._changed(state, transaction=transaction)

    def _changed(
        self,
        state: State,
        *,
        schema: bytes | None = None,
        multi_statements: bool | None = None,
        variables: Mapping[bytes, bytes] | None = None,
        user_variables: Mapping[bytes, bytes] | None = None,
        role: bytes | None = None,
        transaction: bytes | None = None,
    ) -> State:
        return self.intern(
            state.schema if schema is None else schema,
            state.multi_statements if multi_statements is None else multi_statements,
            state.variables if variables is None else variables,
            state.user_variables if user_variables is None else user_variables,
            state.role if role is None else role,
            state.transaction if transaction is None else transaction,
        )

    def after_set_names(self, state: State, character_set: bytes) -> State:
        """Give `state` after SET NAMES `character_set`, whose collation the server does not tell."""
        names = (CHARACTER_SET_CLIENT, CHARACTER_SET_CONNECTION, CHARACTER_SET_RESULTS)
        return self.with_variables(state, dict.fromkeys(names, character_set) | {COLLATION_CONNECTION: b""})
