"""Where the servers of a group are, and how that is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rdsproxy.topology.target import Place, Target


class Discovery(Protocol):
    """Tells a target group of its places, whenever they change."""

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        """Begin to call `found` with all places there are; the first time at once, if any are known."""

    def hurry(self) -> None:
        """Something is wrong: look again now."""

    def seen(self, targets: Sequence[Target]) -> None:
        """The group has looked at its targets."""

    def stop(self) -> None:
        """Call `found` no more."""


class Listed:
    """The places of the configuration."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        """Tell them, once."""
        found(self._places)

    def hurry(self) -> None:
        """They do not change."""

    def seen(self, targets: Sequence[Target]) -> None:
        """They do not change."""

    def stop(self) -> None:
        """They do not change."""
