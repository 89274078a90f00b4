"""Which pins a statement's text causes."""

from __future__ import annotations

from typing import Final

from rdsproxy.session.pinning import PinReason
from rdsproxy.session.statements import Trait

_OF_TRAIT: Final = (
    (Trait.LOCK, PinReason.LOCK),
    (Trait.HANDLER, PinReason.HANDLER),
    (Trait.ROUTINE, PinReason.ROUTINE),
    (Trait.UNTRACKED_SET, PinReason.UNTRACKED_SET),
    (Trait.XA, PinReason.XA),
    (Trait.SEQUENCE, PinReason.SEQUENCE),
    (Trait.RESOURCE_GROUP, PinReason.RESOURCE_GROUP),
)


def of_traits(traits: Trait) -> int:
    """Give the pins that a statement of these traits causes, by its text alone."""
    pins = 0
    for trait, reason in _OF_TRAIT:
        if traits & trait:
            pins |= reason
    return pins
