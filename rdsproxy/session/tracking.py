"""The client's own settings of the session trackers.

A database connection always tracks what the proxy must know. What the client has set is kept here: its replies are
filtered by it (`telling`). A statement that names one of the settings runs with the client's own in force, so that it
reads and sets what it would on a connection of its own; then they are asked for, and the proxy's are put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.reply import Reply
from rdsproxy.protocol.results import Result
from rdsproxy.protocol.telling import ALL, EVERYTHING, Settings, Telling
from rdsproxy.session import restore
from rdsproxy.session.assignments import assigned, split
from rdsproxy.session.functions import only_native
from rdsproxy.session.pinning import CHANGING, COMPLETION_TYPE, TRACKERS, VOLATILE, PinReason
from rdsproxy.session.reading import Token
from rdsproxy.session.state import State, States
from rdsproxy.session.statements import Trait
from rdsproxy.session.trackers import Told, told_by

if TYPE_CHECKING:
    from rdsproxy.session.leaving import Question
    from rdsproxy.session.session import Session

SYSTEM_VARIABLES, _, _, TRANSACTION_INFO = TRACKERS
_WORDS: Final = {name.upper(): name for name in TRACKERS}
_SWITCH: Final = {b"OFF": b"0", b"ON": b"1"}
_NONE: Final[frozenset[bytes]] = frozenset()

ASK_SETTINGS: Final = commands.query(b"SELECT " + b", ".join(b"@@SESSION." + name for name in TRACKERS))


def read_settings(result: Result) -> Settings:
    """Take the answer to `ASK_SETTINGS`. Raises ProtocolError for one that is none."""
    return Settings(*(value or b"" for value in result.row(len(TRACKERS))))


def put_in_force(settings: Settings, first: bytes = b"") -> bytes:
    """Give the command that makes a connection track by these settings; `first`: another clause of the SET."""
    return commands.query(restore.set_statement(_as_mapping(settings), first))


def _set(variables: Iterable[tuple[bytes, bytes]]) -> bytes:
    return commands.query(restore.set_statement(dict(variables)))


class Tracking:
    """What one session's client has set. `track`: it offered SESSION_TRACK, and so is told something."""

    __slots__ = ("_states", "asked", "assigned", "in_force", "named", "settings", "telling")

    def __init__(self, states: States, *, track: bool) -> None:
        self._states = states
        self.settings = states.tracking
        self.telling = Telling(self.settings, mariadb=states.quiet_errors) if track else None
        self.named: frozenset[bytes] = _NONE
        """The settings that the statement under way names, if it may run with the client's own in force."""
        self.assigned: frozenset[bytes] = _NONE
        """The variables that it assigns."""
        self.in_force: frozenset[bytes] = _NONE
        """Those of the settings that are the client's own on the connection."""
        self.asked = True
        """Their values are known."""

    # -- what the session's connections must track ---------------------------------------------------------------------

    def in_state(self, state: State) -> State:
        """Give `state` as it must be for a client of these settings.

        What each statement changes is tracked only on connections whose clients asked for it.
        """
        if self.telling is None:
            return state
        names = self.settings.system_variables.lower()
        if names.strip() == ALL or b"." in names or any(name in names for name in CHANGING):
            return self._states.with_variables(state, {SYSTEM_VARIABLES: ALL})
        if SYSTEM_VARIABLES in state.variables:
            return self._states.with_variables(state, {SYSTEM_VARIABLES: self._states.baseline[SYSTEM_VARIABLES]})
        return state

    # -- a statement that names them -----------------------------------------------------------------------------------

    def foresee(self, sql: bytes | None, traits: Trait, state: State, pins: int) -> int:
        """Look at a statement before it gets a connection; None: its text is not known.

        Give the `pins` that it causes, with or without one for what it does here.
        """
        self.named = self.assigned = _NONE
        if not traits & Trait.TRACKERS:
            return pins
        if sql is None:
            return pins | PinReason.TRACKERS_OFF
        found = state.lexer.reading.tokens(sql)
        if found is None:
            return pins | PinReason.TRACKERS_OFF
        named = frozenset(_WORDS[token.text] for token in found if token.text in _WORDS)
        if not traits & Trait.DIAGNOSTICS:
            if named and traits & Trait.SETS:
                names = assigned(found)
                if names is not None:
                    # Whether an OK has the flag but no block depends on all that an assignment could have changed.
                    self.named = named.union(TRACKERS[:3])
                    self.assigned = names
                    return pins & ~PinReason.UNTRACKED_SET
            elif _reads(found, b"SELECT"):
                self.named = named
                return pins
            elif _reads(found, b"SHOW"):
                self.named = frozenset(TRACKERS)
                return pins
        if named and any(token.text == b"SET" for token in found):
            # It may change what is told in ways that are not told.
            pins |= PinReason.TRACKERS_OFF
        return pins

    def own(self) -> bytes:
        """Give the command that puts the named settings in force, as the client has them."""
        own = _as_mapping(self.settings)
        return _set((name, own[name]) for name in TRACKERS if name in self.named)

    def own_in_force(self) -> None:
        """Note that this was done; the statement that names them comes next."""
        self.in_force = self.named
        self.asked = not self.assigned
        if self.telling is not None:
            own = _as_mapping(self.settings)
            # What they tell is just what the client is to be told; by the others it is filtered as always.
            everything = _as_mapping(EVERYTHING)
            self.telling.settings = Settings(
                *(everything[name] if name in self.in_force else own[name] for name in TRACKERS)
            )
            self.telling.own = True

    def variables(self, told: Told) -> dict[bytes, bytes]:
        """Give the variables that an OK told, by the names that the proxy knows them by."""
        variables = dict(told.variables)
        if self.in_force and not self._states.quiet_errors:
            # MySQL writes them as the client has done in its list.
            variables = {name.lower(): value for name, value in variables.items()}
        for name in CHANGING:
            variables.pop(name, None)
        return variables

    def untold(self, reply: Reply) -> frozenset[bytes] | None:
        """Give the variables that the statement assigned and its reply did not tell; None: not all can be asked for."""
        told = {name.lower() for block in reply.changes or () for name, _ in told_by(block).variables}
        untold = self.assigned.difference(told, TRACKERS)
        if reply.failed:
            # Of those before the error it may have set some.
            return None if untold else _NONE
        return untold if all(map(self._can_be_asked, untold)) else None

    def _can_be_asked(self, name: bytes) -> bool:
        return name in self._states.baseline and name not in VOLATILE and name != COMPLETION_TYPE

    def question(self, session: Session) -> Question:
        """Give what to ask where some are in force: their values, and then for the proxy's own to be put back."""
        names = [name for name in TRACKERS if name in self.in_force]

        def told(result: Result) -> None:
            self.asked = True
            self._take(dict(zip(names, result.row(len(names)), strict=True)))
            session.state = self.in_state(session.state)

        def put_back(result: Result) -> None:
            if self.telling is not None and TRANSACTION_INFO in names and self.settings.transaction_info == b"OFF":
                self.telling.forget_transaction()
            self._back_in_force()

        if not self.asked:
            return commands.query(b"SELECT " + b", ".join(b"@@SESSION." + name for name in names) + b" LIMIT 1"), told
        tracked = session.state.variables.get(SYSTEM_VARIABLES) or self._states.baseline[SYSTEM_VARIABLES]
        proxys = _as_mapping(EVERYTHING._replace(system_variables=tracked))
        return _set((name, proxys[name]) for name in names), put_back

    # -- what becomes of them ------------------------------------------------------------------------------------------

    def adopt(self, told: Mapping[bytes, bytes]) -> None:
        """Take what trackers told of them: something else than a SET of the client's changed them."""
        words = {TRANSACTION_INFO: told[TRANSACTION_INFO]} if TRANSACTION_INFO in told else {}
        self._take({name: _SWITCH.get(value, value) for name, value in told.items()} | words)
        self._back_in_force()

    def _take(self, values: Mapping[bytes, bytes | None]) -> None:
        settings = _as_mapping(self.settings)
        settings.update({name: value or b"" for name, value in values.items()})
        self.settings = Settings(*settings.values())

    def _back_in_force(self) -> None:
        self.in_force = _NONE
        self.asked = True
        if self.telling is not None:
            self.telling.settings = self.settings
            self.telling.own = False

    def lost(self) -> None:
        """The connection is gone, and a transaction with it."""
        self._back_in_force()
        if self.telling is not None:
            self.telling.forget_transaction()

    def reset(self) -> None:
        """The session begins anew."""
        self.settings = self._states.tracking
        self._back_in_force()
        if self.telling is not None:
            self.telling.begin_again(self.settings)


def _as_mapping(settings: Settings) -> dict[bytes, bytes]:
    return dict(zip(TRACKERS, settings, strict=True))


def _reads(found: Sequence[Token], verb: bytes) -> bool:
    """Tell whether this is one statement that begins with `verb` and runs nothing that was stored."""
    first, *more = split(found, b";")
    words = [token.text for token in first if not token.quoted]
    if any(more) or words[:1] != [verb] or b"FROM" in words:
        return False
    if verb == b"SHOW" and b"VARIABLES" not in words[1:3]:
        return False
    code = b""
    end = 0
    for token in first:
        code += b" " * (token.start > end) + (b"`" + token.text + b"`" if token.quoted else token.text)
        end = token.end
    return only_native(code)
