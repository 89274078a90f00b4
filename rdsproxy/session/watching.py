"""Questions that are worth their while only where somebody wants the answer."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 1000  # questions


class Watch:
    """Whether to ask for something that hardly any client reads: until it was in vain often enough, and again from the
    moment when one reads it."""

    __slots__ = ("_left", "on")

    def __init__(self) -> None:
        self.on = True
        self._left: float = PATIENCE

    def asked(self) -> None:
        """Count a question."""
        self._left -= 1
        if self._left <= 0:
            self.on = False

    def read(self) -> None:
        """It was worth it."""
        self.on = True
        self._left = float("inf")
