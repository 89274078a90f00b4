"""What the pools of a target group count together: targets and their pools come and go, sums only grow."""

from __future__ import annotations

from collections import Counter

from rdsproxy.pool.durations import Durations
from rdsproxy.session.pinning import PinReason


class Counts:
    """Plain integers, added to where the event happens."""

    __slots__ = (
        "borrows_aborted",
        "borrows_timed_out",
        "held",
        "lent_at_once",
        "lost",
        "not_opened",
        "opened",
        "openings",
        "pins",
        "repeated",
        "waits",
    )

    def __init__(self) -> None:
        self.waits = Durations()
        """How long those waited who got a connection."""
        self.borrows_aborted = 0
        """How often one who waited got none."""
        self.borrows_timed_out = 0
        """How often within `connection_borrow_timeout`."""
        self.lent_at_once = 0
        """Loans for which nobody had to wait, of pools that are closed; the open ones count theirs themselves."""
        self.pins: Counter[PinReason] = Counter()
        """How often a session began to be held by each reason."""
        self.openings = 0
        """How often a connection was to be opened."""
        self.opened = 0
        self.not_opened = 0
        self.held = 0
        """How often a statement or login had to wait because no target had the role."""
        self.repeated = 0
        """How many commands were sent again, to another target or to the same."""
        self.lost = 0
        """How many commands ended in an error because their connection was lost."""
