"""What a statement does to its session, or may do: told by its text, before it gets a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rdsproxy.session.calls import called
from rdsproxy.session.causes import of_traits
from rdsproxy.session.pinning import OF_SETS, PASSING, STAINED, PinReason
from rdsproxy.session.statements import ENDING, Trait
from rdsproxy.session.texts import Execution, executed

if TYPE_CHECKING:
    from rdsproxy.session.holdings import Deed
    from rdsproxy.session.session import Session

DEEDS: Final = ENDING & ~Trait.UNLOCKS
_IN_DOUBT: Final[int] = PinReason.LOCK | PinReason.HANDLER | PinReason.XA
_NO_NAMES: Final[frozenset[bytes]] = frozenset()


@dataclass(slots=True)
class Foresight:
    """What is to be noted once the statement is sent, and once it has succeeded."""

    pins: int = 0
    """The pins that it causes, and marks."""
    assigning: frozenset[bytes] = _NO_NAMES
    """User variables that it may set."""
    only_assigning: bool = False
    """It sets user variables and nothing else."""
    gets: bool = False
    """It reads diagnostics into them."""
    deed: Deed | None = None
    """What it begins or ends on its connection; None if that cannot be told."""
    called: bytes | None = None
    """The procedure that it calls, where its definition may prove what that does."""
    clean: bool = False
    """It must begin on a connection that has forgotten all other sessions.

    What these left behind in ways that no tracker told (user variables, warnings, locks) stays theirs.
    """


def executed_by(session: Session, traits: Trait, text: bytes | None) -> Execution | None:
    """Give what an EXECUTE runs, if that is known."""
    if text is None or not traits & Trait.ROUTINE:
        return None
    return executed(text, session.state.lexer, session.state.schema, session.holdings.texts)


def foresee(session: Session, traits: Trait, text: bytes | None, using: frozenset[bytes]) -> Foresight:
    """Look at a statement; None: its text is not known. `using`: user variables that are its parameters."""
    state = session.state
    seen = Foresight(of_traits(traits))
    if text is not None and traits & DEEDS:
        seen.deed = state.lexer.deed(text, state.schema)
        if seen.deed is not None:
            seen.pins &= ~_IN_DOUBT
    # A question before one that reads diagnostics would end them.
    if text is not None and traits & (Trait.ROUTINE | Trait.DIAGNOSTICS) == Trait.ROUTINE and not session.lasting_pins:
        seen.called = called(text, state, session.states)
        if seen.called is not None:
            seen.pins &= ~PinReason.ROUTINE
    unset = using - state.user_variables.keys() - session.unread
    if traits & Trait.USER_VARIABLE:
        mentions = None if text is None else state.lexer.mentions(text)
        if mentions is None:
            seen.pins |= PinReason.USER_VARIABLE
        else:
            unset |= mentions.read - state.user_variables.keys() - session.unread
            seen.assigning = mentions.names if traits & Trait.ASSIGNS else unset
            seen.only_assigning = mentions.nothing_else
            seen.gets = mentions.diagnostics
    seen.assigning |= using
    if traits & Trait.STORED:
        seen.assigning |= state.user_variables.keys()
    tracking = session.tracking
    if traits & Trait.TRACKERS or tracking.named:
        seen.pins = tracking.foresee(text, traits, state, seen.pins)
    if seen.pins & OF_SETS and not session.states.pin_untracked_sets:
        seen.pins = seen.pins & ~OF_SETS | STAINED
    seen.clean = bool(unset or traits & (Trait.LOCK | Trait.HANDLER) or seen.pins & ~PASSING)
    return seen
