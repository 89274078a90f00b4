"""What one session has become: learned from trackers and status flags, from the text where they are silent.

Sans-IO: the relay tells what was sent and what came back; this says whether the connection may be lent to another,
and what must be asked of the server first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE
from rdsproxy.protocol.reply import Reply
from rdsproxy.protocol.results import Column, Result, Row
from rdsproxy.session import user_variables
from rdsproxy.session.causes import of_traits
from rdsproxy.session.holdings import SOME_TABLE, UNLOCK_TABLES, Deed, Holdings
from rdsproxy.session.pinning import PASSING, TRACKERS, UNREAD_VARIABLES, VOLATILE, PinReason
from rdsproxy.session.prepared import Statements, statement_id
from rdsproxy.session.state import CHARACTER_SET_CONNECTION, COLLATION_CONNECTION, State, States
from rdsproxy.session.statements import ENDING, Trait
from rdsproxy.session.trackers import told_by

IN_TRANSACTION: Final = cap.SERVER_STATUS_IN_TRANS | cap.SERVER_STATUS_IN_TRANS_READONLY
_SWITCH: Final = {b"0": b"OFF", b"1": b"ON"}
LAST_INSERT_ID: Final = b"last_insert_id"
COMPLETION_TYPE: Final = b"completion_type"
"""As RELEASE it makes the server close the connection behind each transaction: nobody else's may be closed so."""
_DEEDS: Final = ENDING & ~Trait.UNLOCKS
_IN_DOUBT: Final[int] = PinReason.LOCK | PinReason.HANDLER
_NO_NAMES: Final[frozenset[bytes]] = frozenset()


class Session:
    """The session of one client under one user. A COM_CHANGE_USER begins another one."""

    __slots__ = (
        "_assigning",
        "_deed",
        "_only_assigning",
        "_pins_to_come",
        "captured",
        "cursors",
        "doubtful",
        "found_rows",
        "found_rows_here",
        "holdings",
        "insert_id",
        "insert_id_here",
        "insert_id_moved",
        "long_data",
        "opening",
        "pins",
        "reads_found_rows",
        "remarks",
        "row_count",
        "state",
        "statements",
        "states",
        "status",
        "unprobed",
        "unproved",
        "unproven_locks",
        "unread",
        "unwritable",
        "warnings",
    )

    def __init__(self, states: States, state: State) -> None:
        self.states = states
        self.opening = state
        self.state = state
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        """Status flags as the server told them last."""
        self.pins: int = PinReason.NONE
        """A set of `PinReason`, and `UNREAD_VARIABLES`."""
        self.insert_id = 0
        """What LAST_INSERT_ID() gives in this session, while no connection is held."""
        self.insert_id_here = True
        """The held connection gives the session's own LAST_INSERT_ID()."""
        self.insert_id_moved = False
        """The connection's LAST_INSERT_ID() may have changed: it stays there when the connection is given back."""
        self.row_count = 0
        """What ROW_COUNT() gives."""
        self.remarks = False
        """The last statement has, or may have, left warnings or an error."""
        self.warnings = 0
        """How many the reply told."""
        self.captured: Result | None = None
        """The answer to SHOW WARNINGS, asked for before another session used the connection."""
        self.reads_found_rows = False
        """The session has read FOUND_ROWS(), and may do so again."""
        self.found_rows: int | None = None
        """What FOUND_ROWS() gives, where it was asked for before another session used the connection."""
        self.found_rows_here = False
        """The connection's own FOUND_ROWS() is the session's: its last rows came from there."""
        self.unprobed = False
        """The last reply was an ERR: what the statement did to the session before it failed is not known."""
        self.doubtful: set[bytes] = set()
        """Variables whose value must be asked for: the trackers named them but may not have told the value."""
        self.statements = Statements()
        self.cursors: set[int] = set()
        """Prepared statements that have an open cursor, by the client's id."""
        self.long_data: set[int] = set()
        """Prepared statements that were sent a part of their parameters and not executed yet."""
        self.unread: set[bytes] = set()
        """User variables that statements on the held connection may have changed."""
        self.unwritable: set[bytes] = set()
        """User variables that hold the session on its connection by their values."""
        self.unproved: dict[bytes, bytes] = {}
        """DOUBLEs of which is asked whether their SQL has just the same value."""
        self.holdings = Holdings()
        self.unproven_locks = False
        """A statement may have released a lock, or not got one: ask for those that are held."""
        self._assigning: frozenset[bytes] = _NO_NAMES
        self._deed: Deed | None = None
        self._only_assigning = False
        self._pins_to_come = 0

    def borrowed(self) -> None:
        """Begin to use a connection whose state was made to match and whose LAST_INSERT_ID() is 0."""
        self.insert_id_here = not self.insert_id
        self.insert_id_moved = False
        self.found_rows_here = False

    def text_of(self, packets: bytes) -> bytes | None:
        """Give the statement that these packets run; None where it is not known, or in more than one packet."""
        if packets[HEADER_SIZE] != commands.STMT_EXECUTE:
            return commands.text_of(packets)
        statement = self.statements.find(statement_id(packets[HEADER_SIZE:]))
        return None if statement is None else statement.text

    def foresee(self, traits: Trait, text: bytes | None) -> bool:
        """Look at a statement before it gets a connection; None: its text is not known.

        True: it must begin on a connection that has forgotten all other sessions. What these left behind in ways that
        no tracker told (user variables, warnings, locks) stays theirs.
        """
        self._pins_to_come = of_traits(traits)
        if not self.states.pin_untracked_sets:
            self._pins_to_come &= ~PinReason.UNTRACKED_SET
        self._assigning = _NO_NAMES
        self._only_assigning = False
        self._deed = None
        if text is not None and traits & _DEEDS:
            self._deed = self.state.lexer.deed(text, self.state.schema)
            if self._deed is not None:
                self._pins_to_come &= ~_IN_DOUBT
        unset: frozenset[bytes] = _NO_NAMES
        if traits & Trait.USER_VARIABLE:
            mentions = None if text is None else self.state.lexer.mentions(text)
            if mentions is None:
                self._pins_to_come |= PinReason.USER_VARIABLE
            else:
                unset = mentions.read - self.state.user_variables.keys() - self.unread
                self._assigning = mentions.names if traits & Trait.ASSIGNS else unset
                self._only_assigning = mentions.nothing_else
        if traits & Trait.STORED:
            self._assigning |= self.state.user_variables.keys()
        begins_clean = bool(traits & (Trait.LOCK | Trait.HANDLER))
        return bool(unset or begins_clean or self._pins_to_come & ~PASSING)

    def sent(self, traits: Trait) -> None:
        """Note that the statement which was foreseen is about to be sent on the held connection."""
        self.pins &= ~PinReason.COUNTED_ROWS
        if traits:
            self.pins |= self._pins_to_come
            if self._assigning:
                self.unread |= self._assigning
                self.pins |= UNREAD_VARIABLES
            if self._deed is SOME_TABLE:
                self._do(SOME_TABLE)  # whether the statement succeeds or not: it may be one of several
            if traits & Trait.HOLDS and self._deed is None and self.holdings.of(PinReason.TEMPORARY_TABLE):
                self.pins |= PinReason.STATE_CHANGE  # it may have another name from here on
            if traits & (Trait.RELEASES | Trait.LOCK):
                self.unproven_locks = True
            if traits & (Trait.INSERT_ID | Trait.ROUTINE):
                self.insert_id_moved = True

    def answered_by(self, reply: Reply, traits: Trait) -> None:
        """Take what the reply to a statement tells of the diagnostics that it leaves behind."""
        self.row_count = reply.row_count
        self.warnings = reply.warnings
        # What reads them leaves some of them alone, and so does on MariaDB every statement without a table.
        lasting = self.remarks and (self.states.quiet_errors or bool(traits & Trait.DIAGNOSTICS))
        self.remarks = bool(reply.failed or reply.warnings or lasting)
        self.captured = None
        self.found_rows = None
        if reply.row_count < 0 and not reply.failed:
            self.found_rows_here = True
        if traits & Trait.DIAGNOSTICS:
            self.reads_found_rows = True
        if reply.failed:
            # The manual leaves LAST_INSERT_ID() undefined then.
            self.unprobed = self.insert_id_moved = True

    def told_warnings(self, result: Result) -> None:
        """Take the answer to SHOW WARNINGS, after which they are gone from the connection."""
        self.captured = result
        self.remarks = bool(result.rows)

    def learn(self, status: int, changes: list[bytes] | None, traits: Trait) -> None:
        """Take what the reply to a statement told. Raises ProtocolError for a broken tracker block."""
        self.status = status
        if traits:
            if traits & Trait.UNLOCKS:
                self.pins &= ~PinReason.LOCKED_TABLES
                self._do(UNLOCK_TABLES)
            if self._deed is not None and traits & _DEEDS:
                self._do(self._deed)
        for block in changes or ():
            self._learn_block(block, traits)

    def _do(self, deed: Deed) -> None:
        if deed.kind:
            self._pin(deed.kind, self.holdings.do(deed))

    @property
    def must_prove_locks(self) -> bool:
        """Nothing holds the session on its connection but locks, of which the server knows whether it has them."""
        return (
            self.unproven_locks
            and bool(self.pins & PinReason.USER_LOCK)
            and self._nothing_holds_but(PinReason.USER_LOCK | UNREAD_VARIABLES | PinReason.VARIABLE_VALUE)
        )

    def _nothing_holds_but(self, pins: int) -> bool:
        return not self.pins & ~pins and not self.status & IN_TRANSACTION

    def answered_locks(self, gone: frozenset[bytes]) -> None:
        """Take which locks the session does not have."""
        self.unproven_locks = False
        self._do(Deed(PinReason.USER_LOCK, False, gone))

    def _learn_block(self, block: bytes, traits: Trait) -> None:
        """Take the trackers of one OK."""
        told = told_by(block)
        if told.locked is not None:
            self._pin(PinReason.LOCKED_TABLES, told.locked)
        if told.characteristics is not None:
            # Outside of a transaction they wait for the next one to begin.
            self._pin(PinReason.NEXT_TRANSACTION, told.characteristics and not self.status & IN_TRANSACTION)
        variables, schema = dict(told.variables), told.schema
        # SET and USE report a change of state along with what they changed. Anything else that does may have changed
        # more than it told: a function, a routine of another schema (which shows as that schema left unchanged).
        if told.state_change and not (
            (traits & Trait.SETS and (variables or self._only_assigning or not self.states.pin_untracked_sets))
            or (traits & Trait.HOLDS and self._deed is not None and self._deed.told)
            or (traits & Trait.USES and schema is not None and not variables)
        ):
            self.pins |= PinReason.STATE_CHANGE
        if schema is not None and schema != self.state.schema:
            self.state = self.states.with_schema(self.state, schema)
        if variables:
            self._learn_variables(variables, traits)

    def _learn_variables(self, variables: dict[bytes, bytes], traits: Trait) -> None:
        if variables.pop(LAST_INSERT_ID, None) is not None:
            self.insert_id_moved = self.insert_id_here = True
        if not TRACKERS.isdisjoint(variables):
            self.pins |= PinReason.TRACKERS_OFF
        if not VOLATILE.isdisjoint(variables) or variables.get(COMPLETION_TYPE) == b"RELEASE":
            self.pins |= PinReason.VOLATILE_VARIABLE
        if CHARACTER_SET_CONNECTION in variables and COLLATION_CONNECTION not in variables:
            self.doubtful.add(COLLATION_CONNECTION)
        if not traits & Trait.SETS:
            # SET STATEMENT, a routine: the server may have put the old value back after it was reported.
            self.doubtful.update(variables)
        self.state = self.states.with_variables(self.state, variables)

    def open_cursor(self, number: int) -> None:
        """Note that a prepared statement has an open cursor."""
        self.cursors.add(number)
        self.pins |= PinReason.CURSOR

    def begin_long_data(self, number: int) -> None:
        """Note that a prepared statement is sent a part of its parameters."""
        self.long_data.add(number)
        self.pins |= PinReason.LONG_DATA

    def end_statement(self, number: int) -> None:
        """Note that a prepared statement keeps nothing on its connection any more."""
        self.cursors.discard(number)
        self.long_data.discard(number)
        self._pin(PinReason.CURSOR, bool(self.cursors))
        self._pin(PinReason.LONG_DATA, bool(self.long_data))

    def _pin(self, reason: PinReason, on: bool) -> None:
        self.pins = self.pins | reason if on else self.pins & ~reason

    def answered(self, variables: dict[bytes, bytes]) -> None:
        """Take the values of the doubtful variables."""
        self.doubtful.clear()
        baseline = self.states.baseline
        for name, value in variables.items():
            # SELECT shows switches as numbers, trackers and SHOW VARIABLES as words.
            if value in _SWITCH and baseline.get(name) in _SWITCH.values():
                variables[name] = _SWITCH[value]
        self.state = self.states.with_variables(self.state, variables)

    def answered_insert_id(self, value: int) -> None:
        """Take what LAST_INSERT_ID() gives on the held connection; 0 means that it was never set there."""
        if value or self.insert_id_here:
            self.insert_id = value
            self.insert_id_here = True
        self.insert_id_moved = False

    @property
    def must_read(self) -> bool:
        """Nothing holds the session on its connection but user variables, whose values must be asked for."""
        return bool(self.pins & UNREAD_VARIABLES) and self._nothing_holds_but(
            UNREAD_VARIABLES | PinReason.VARIABLE_VALUE
        )

    def answered_user_variables(self, columns: dict[bytes, Column], rows: dict[bytes, Row]) -> None:
        """Take what the unread user variables are; see `user_variables.literal`."""
        self.unwritable.clear()
        found: dict[bytes, bytes] = {}
        for name, row in rows.items():
            value = user_variables.literal(columns[name], row)
            if value is None:
                self.unwritable.add(name)
            else:
                found[name] = value
                if user_variables.is_double(columns[name], row):
                    self.unproved[name] = value
        self._read(found)

    def answered_doubles(self, same: dict[bytes, bool]) -> None:
        """Take whether the SQL of the unproved variables has the same value."""
        self.unwritable.update(name for name, proved in same.items() if not proved)
        self.unproved.clear()
        self._read({})

    def _read(self, found: Mapping[bytes, bytes]) -> None:
        state = self.states.with_user_variables(self.state, found)
        if sum(map(len, state.user_variables.values())) > 2 * user_variables.LARGEST:
            self.unwritable.update(found)
        else:
            self.state = state
        self._pin(PinReason.VARIABLE_VALUE, bool(self.unwritable))
        if not self.unproved:
            self.unread.clear()
            self.pins &= ~UNREAD_VARIABLES

    @property
    def holds(self) -> bool:
        """The session must keep its connection as things stand."""
        return bool(self.status & IN_TRANSACTION or self.pins & ~UNREAD_VARIABLES)

    @property
    def reasons(self) -> int:
        """The pins, as a set of `PinReason`."""
        return self.pins & ~UNREAD_VARIABLES

    @property
    def lasting_pins(self) -> int:
        """The pins that end only with the session."""
        return self.pins & ~PASSING

    def reset(self) -> None:
        """Become what COM_RESET_CONNECTION leaves of a session."""
        self.state = self.states.after_reset(self.state, self.opening)
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        self.pins = PinReason.NONE
        self.insert_id = 0
        self.insert_id_here = True
        self.insert_id_moved = False
        self.row_count = 0
        self.remarks = self.reads_found_rows = False
        self.captured = self.found_rows = None
        self.unprobed = False
        self.doubtful.clear()
        self.statements.clear()
        self.cursors.clear()
        self.long_data.clear()
        self._forget_what_is_held()

    def _forget_what_is_held(self) -> None:
        self.unread.clear()
        self.unwritable.clear()
        self.unproved.clear()
        self.holdings.clear()
        self.unproven_locks = False

    def lost(self) -> None:
        """The held connection is gone, and what cannot be written back with it."""
        self.pins = PinReason.NONE
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        self.insert_id_moved = False
        self.unprobed = False
        self.doubtful.clear()
        self.cursors.clear()
        self.long_data.clear()
        self._forget_what_is_held()
