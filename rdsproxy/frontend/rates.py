"""How often something has happened of late, for each address: who does it too often is slowed down, and nobody else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

WINDOW: Final = 60.0  # seconds
MAX_KEPT: Final = 10_000
"""Keys; beyond, those counted longest ago are forgotten, so that made-up ones do not fill the memory."""


class Rate:
    """Counts in windows of a minute, which begin with what is counted first. `now` gives seconds.

    The keys are whom it is counted for. For failed logins that is an address and a user together: who guesses locks
    out neither the user at other addresses nor the other users behind a shared address. Users that do not exist are
    counted alike, or the limit would tell who does.
    """

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self.limit = limit
        """In a window."""
        self._now = now
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def is_reached(self, key: Hashable) -> bool:
        """Tell whether one more would be too many."""
        began, count = self._windows.get(key, (0.0, 0))
        return count >= self.limit and self._now() < began + WINDOW

    def add(self, key: Hashable) -> int:
        """Count one more; give how many there are in the window now."""
        now = self._now()
        began, count = self._windows.pop(key, (now, 0))
        if now >= began + WINDOW:
            began, count = now, 0
        self._windows[key] = began, count + 1
        # Those counted longest ago come first; it cannot be the one just added.
        oldest, (began, _) = next(iter(self._windows.items()))
        if len(self._windows) > MAX_KEPT or now >= began + WINDOW:
            del self._windows[oldest]
        return count + 1

    def forget(self, key: Hashable) -> None:
        """What was counted does not count any more."""
        self._windows.pop(key, None)

    def take_back(self, key: Hashable) -> None:
        """One that was counted turns out not to be one."""
        window = self._windows.get(key)
        if window is not None:
            self._windows[key] = window[0], max(0, window[1] - 1)
