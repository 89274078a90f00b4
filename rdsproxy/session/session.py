"""What one session has become: learned from trackers and status flags, from the text where they are silent.

Sans-IO: the relay tells what was sent and what came back; this says whether the connection may be lent to another,
and what must be asked of the server first.
"""

from __future__ import annotations

from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE
from rdsproxy.protocol.reply import Reply
from rdsproxy.protocol.results import Result
from rdsproxy.session.calls import Calls, definition
from rdsproxy.session.diagnostics import Diagnostics
from rdsproxy.session.foresight import DEEDS, Foresight, foresee
from rdsproxy.session.holdings import SOME_TABLE, UNLOCK_TABLES, Deed, Holdings
from rdsproxy.session.pinning import (
    COMPLETION_TYPE,
    MARKS,
    PASSING,
    STAINED,
    TRACKERS,
    UNPROVED_CALLS,
    UNREAD_VARIABLES,
    UNUSED_TRANSACTION,
    VOLATILE,
    PinReason,
)
from rdsproxy.session.prepared import Statements, statement_id
from rdsproxy.session.state import CHARACTER_SET_CONNECTION, COLLATION_CONNECTION, State, States
from rdsproxy.session.statements import UNCOUNTED, Trait
from rdsproxy.session.trackers import Told, told_by
from rdsproxy.session.tracking import Tracking
from rdsproxy.session.transactions import is_begun, is_set

IN_TRANSACTION: Final = cap.SERVER_STATUS_IN_TRANS | cap.SERVER_STATUS_IN_TRANS_READONLY
_SWITCH: Final = {b"0": b"OFF", b"1": b"ON"}
LAST_INSERT_ID: Final = b"last_insert_id"


class Session:
    """The session of one client under one user. A COM_CHANGE_USER begins another one."""

    __slots__ = (
        "calls",
        "characteristics",
        "cursors",
        "diagnostics",
        "doubtful",
        "foreseen",
        "holdings",
        "insert_id",
        "insert_id_here",
        "insert_id_moved",
        "long_data",
        "opening",
        "pins",
        "state",
        "statements",
        "states",
        "status",
        "tracking",
        "unprobed",
        "unproved",
        "unproven_locks",
        "unread",
        "unread_role",
        "untouched",
        "unwritable",
        "xa_prepared",
    )

    def __init__(self, states: States, state: State, *, track: bool = False) -> None:
        """`track`: the client offered SESSION_TRACK."""
        self.states = states
        self.tracking = Tracking(states, track=track)
        self.opening = state
        self.state = self.tracking.in_state(state)
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        """Status flags as the server told them last."""
        self.pins: int = PinReason.NONE
        """A set of `PinReason`, and `MARKS`."""
        self.insert_id = 0
        """What LAST_INSERT_ID() gives in this session, while no connection is held."""
        self.insert_id_here = True
        """The held connection gives the session's own LAST_INSERT_ID()."""
        self.insert_id_moved = False
        """The connection's LAST_INSERT_ID() may have changed: it stays there when the connection is given back."""
        self.diagnostics = Diagnostics(lasting=states.quiet_errors)
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
        self.calls = Calls()
        self.unread_role = False
        """A statement may have changed the active roles: ask for them."""
        self.characteristics = b""
        """The SQL that begins the open transaction again."""
        self.untouched = False
        """No statement has read or written a table in it."""
        self.holdings = Holdings()
        self.xa_prepared = False
        """The connection has an XA transaction that is prepared."""
        self.unproven_locks = False
        """A statement may have released a lock, or not got one: ask for those that are held."""
        self.foreseen = Foresight()
        """What the statement under way does."""

    # Has a twin in shortcut/sending.c.
    def borrowed(self) -> None:
        """Begin to use a connection whose state was made to match and whose LAST_INSERT_ID() is 0."""
        self.insert_id_here = not self.insert_id
        self.insert_id_moved = False
        self.diagnostics.found_rows_here = False

    def text_of(self, packets: bytes) -> bytes | None:
        """Give the statement that these packets run; None where it is not known, or in more than one packet."""
        if packets[HEADER_SIZE] not in (commands.STMT_EXECUTE, commands.STMT_BULK_EXECUTE):
            return commands.text_of(packets)
        statement = self.statements.find(statement_id(packets[HEADER_SIZE : HEADER_SIZE + 5]))
        return None if statement is None else statement.text

    def foresee(self, traits: Trait, text: bytes | None, using: frozenset[bytes] = frozenset()) -> bool:
        """Look at a statement before it gets a connection; None: its text is not known.

        `using`: user variables that are its parameters. True: it must begin on a connection that has forgotten all
        other sessions.
        """
        self.foreseen = foresee(self, traits, text, using)
        return self.foreseen.clean

    def begin_call(self, result: Result) -> bool:
        """Take the definition of the procedure that is about to be called; tells whether it is harmless."""
        assert self.foreseen.called is not None
        harmless = self.calls.begin(self.foreseen.called, definition(result), self.states)
        self.foreseen.pins |= UNPROVED_CALLS if harmless else PinReason.ROUTINE
        return harmless

    @property
    def must_prove_calls(self) -> bool:
        """Nothing holds the session on its connection but what is asked along with this."""
        return bool(self.pins & UNPROVED_CALLS) and self._nothing_holds_but(
            PinReason.USER_LOCK | PinReason.VARIABLE_VALUE
        )

    def sent(self, traits: Trait) -> None:
        """Note that the statement which was foreseen is about to be sent on the held connection."""
        self.pins &= ~UNUSED_TRANSACTION
        if traits:
            seen = self.foreseen
            self.pins |= seen.pins
            if seen.assigning:
                self.unread |= seen.assigning
                self.pins |= UNREAD_VARIABLES
            if seen.deed is SOME_TABLE:
                self.do(SOME_TABLE)  # whether the statement succeeds or not: it may be one of several
            if traits & Trait.HOLDS and seen.deed is None:
                self.holdings.texts.clear()
                if self.holdings.of(PinReason.TEMPORARY_TABLE):
                    self.pins |= PinReason.STATE_CHANGE  # it may have another name from here on
            if traits & (Trait.RELEASES | Trait.LOCK):
                self.unproven_locks = True
            if traits & Trait.ROLE and self.states.role:
                self.unread_role = True
            if traits & (Trait.INSERT_ID | Trait.ROUTINE):
                self.insert_id_moved = True

    def answered_by(self, reply: Reply, traits: Trait) -> None:
        """Take what the reply to a statement tells of what it leaves behind."""
        self.diagnostics.answered_by(reply, traits)
        if reply.failed:
            # The manual leaves LAST_INSERT_ID() undefined then.
            self.unprobed = self.insert_id_moved = True
            if self.state.transaction and self.states.quiet_errors:
                self.pins |= PinReason.NEXT_TRANSACTION
        if self.tracking.in_force:
            untold = self.tracking.untold(reply)
            if untold is None:
                self.pins |= PinReason.TRACKERS_OFF
            else:
                self.doubtful |= untold

    def counted_by_row(self) -> None:
        """Note that the statement ran row by row: its reply told sums, the server keeps what the last row gave."""
        self.diagnostics.counted_by_row()

    @property
    def must_ask_found_rows(self) -> bool:
        """FOUND_ROWS() has to be asked for before anything else runs on the connection."""
        diagnostics = self.diagnostics
        return (
            diagnostics.found_rows is None
            and diagnostics.found_rows_here
            and (diagnostics.counting or self.states.asks_found_rows.on)
        )

    def learn(self, status: int, changes: list[bytes] | None, traits: Trait, alone: bool = False) -> None:
        """Take what the reply to a statement told. Raises ProtocolError for a broken tracker block.

        `alone`: the reply is that of a single statement.
        """
        self.status = status
        if traits:
            if traits & Trait.UNLOCKS:
                self.pins &= ~PinReason.LOCKED_TABLES
                self.do(UNLOCK_TABLES)
            if self.foreseen.deed is not None and traits & DEEDS:
                self.do(self.foreseen.deed)
        for block in changes or ():
            told = self._learn_block(block, traits)
            if told.begun and alone and not traits & ~UNCOUNTED and self.untouched:
                self.pins |= UNUSED_TRANSACTION

    def do(self, deed: Deed) -> None:
        """Note what a statement has begun or ended on the connection."""
        if deed.kind == PinReason.XA_TRANSACTION:
            self.xa_prepared = not deed.begins and bool(self.status & IN_TRANSACTION)
            if self.xa_prepared:
                return
        if deed.kind:
            self.pin(deed.kind, self.holdings.do(deed))

    @property
    def must_prove_locks(self) -> bool:
        """Nothing holds the session on its connection but locks, of which the server knows whether it has them."""
        return (
            self.unproven_locks
            and bool(self.pins & PinReason.USER_LOCK)
            and self._nothing_holds_but(PinReason.USER_LOCK | PinReason.VARIABLE_VALUE)
        )

    def _nothing_holds_but(self, pins: int) -> bool:
        return not self.pins & ~(pins | MARKS) and not self.status & IN_TRANSACTION

    def _learn_block(self, block: bytes, traits: Trait) -> Told:
        """Take the trackers of one OK."""
        told = told_by(block)
        if told.locked is not None:
            self.pin(PinReason.LOCKED_TABLES, told.locked)
        if told.untouched is not None:
            self.untouched = told.untouched
        if told.characteristics is not None:
            self._learn_characteristics(told.characteristics)
        variables, schema = self.tracking.variables(told), told.schema
        # SET and USE report a change of state along with what they changed. Anything else that does may have changed
        # more than it told: a function, a routine of another schema (which shows as that schema left unchanged).
        if told.state_change and not (
            self.tracking.in_force
            or (traits & Trait.SETS and (variables or self.foreseen.only_assigning or traits & Trait.ROLE))
            or (traits & Trait.DIAGNOSTICS and self.foreseen.gets)
            or (traits & Trait.HOLDS and self.foreseen.deed is not None and self.foreseen.deed.told)
            or (traits & Trait.USES and schema is not None and not variables)
        ):
            excused = traits & Trait.SETS and not self.states.pin_untracked_sets
            self.pins |= STAINED if excused else PinReason.STATE_CHANGE
        if schema is not None and schema != self.state.schema:
            self.state = self.states.with_schema(self.state, schema)
        if variables:
            self._learn_variables(variables, traits)
        return told

    def _learn_characteristics(self, told: bytes) -> None:
        self.characteristics = told
        # Outside of a transaction they wait for the next one to begin.
        following = b"" if self.status & IN_TRANSACTION else told
        known = not following or is_set(following)
        self.pin(PinReason.NEXT_TRANSACTION, not known)
        if not known:
            following = b""
        if following != self.state.transaction:
            self.state = self.states.with_transaction(self.state, following)

    @property
    def unused_transaction(self) -> bytes:
        """The SQL that begins the open transaction again on any connection, since nothing has been done in it.

        Empty: there is none, or something has. Its statements end with semicolons.
        """
        if self.pins & UNUSED_TRANSACTION:
            return self.characteristics
        return self.state.transaction if is_begun(self.state.transaction) else b""

    def _learn_variables(self, variables: dict[bytes, bytes], traits: Trait) -> None:
        if variables.pop(LAST_INSERT_ID, None) is not None:
            self.insert_id_moved = self.insert_id_here = True
        trackers = {name: variables.pop(name) for name in TRACKERS if name in variables}
        if trackers and not self.tracking.in_force:
            self.tracking.adopt(trackers)
            self.pins |= PinReason.TRACKERS_OFF
        if not VOLATILE.isdisjoint(variables):
            if traits & Trait.SETS and not self.states.pin_untracked_sets:
                self.pins |= STAINED
                variables = {name: value for name, value in variables.items() if name not in VOLATILE}
            else:
                self.pins |= PinReason.VOLATILE_VARIABLE
        if variables.get(COMPLETION_TYPE) == b"RELEASE":
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
        self.pin(PinReason.CURSOR, bool(self.cursors))
        self.pin(PinReason.LONG_DATA, bool(self.long_data))

    def pin(self, reason: PinReason, on: bool) -> None:
        """Begin a pin, or end it."""
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
        return bool(self.pins & UNREAD_VARIABLES) and self._nothing_holds_but(PinReason.VARIABLE_VALUE)

    @property
    def holds(self) -> bool:
        """The session must keep its connection as things stand."""
        return bool(self.status & IN_TRANSACTION or self.pins & ~MARKS)

    @property
    def reasons(self) -> int:
        """The pins, as a set of `PinReason`."""
        return self.pins & ~MARKS

    @property
    def lasting_pins(self) -> int:
        """The pins that end only with the session."""
        return self.pins & ~PASSING

    def reset(self) -> None:
        """Become what COM_RESET_CONNECTION leaves of a session."""
        self.tracking.reset()
        self.state = self.tracking.in_state(self.states.after_reset(self.state, self.opening))
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        self.pins = PinReason.NONE
        self.insert_id = 0
        self.insert_id_here = True
        self.insert_id_moved = False
        self.diagnostics.reset()
        self.unprobed = False
        self.doubtful.clear()
        self.statements.clear()
        self.cursors.clear()
        self.long_data.clear()
        self._forget_what_is_held()

    def _forget_what_is_held(self) -> None:
        self.unread.clear()
        self.calls.before.clear()
        self.unread_role = False
        self.unwritable.clear()
        self.unproved.clear()
        self.holdings.clear()
        self.untouched = False
        self.xa_prepared = False
        self.unproven_locks = False

    def undone(self) -> None:
        """The statement that was sent has done nothing; before it nothing held the session."""
        self.pins = PinReason.NONE
        self._forget_what_is_held()

    def lost(self, *, unsent: bool = False) -> None:
        """The held connection is gone, and what cannot be written back with it.

        `unsent`: no statement was under way on it, so that a transaction in which nothing has been done can be begun
        again, and what was set for the next one set again.
        """
        again = b""
        if unsent and not self.pins & ~UNUSED_TRANSACTION:
            again = self.unused_transaction or self.state.transaction
        self.tracking.lost()
        self.pins = PinReason.NONE
        if not is_begun(again):
            self.status = cap.SERVER_STATUS_AUTOCOMMIT
        if again != self.state.transaction:
            self.state = self.states.with_transaction(self.state, again)
        self.insert_id_moved = False
        self.diagnostics.lost()
        self.unprobed = False
        self.doubtful.clear()
        self.cursors.clear()
        self.long_data.clear()
        self._forget_what_is_held()
