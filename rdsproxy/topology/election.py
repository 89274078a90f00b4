"""Who is the writer, given who was, and what the targets say of themselves. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Choice(NamedTuple, Generic[T]):
    """The writer, and the others that claim to be one."""

    writer: T | None
    rivals: tuple[T, ...]


def elect(current: T | None, claimants: Sequence[T]) -> Choice[T]:
    """Choose among those that answer as writers, the one that began to do so last at the end.

    The current one stays as long as it is among them: two servers that both take writes are an operator's mistake or
    an old primary that came back, and to go back and forth would spread writes over both. If the current one is gone,
    the latest to claim follows it: that one was promoted, while an older claim was never needed.
    """
    if current is not None and current in claimants:
        return Choice(current, tuple(target for target in claimants if target != current))
    if not claimants:
        return Choice(None, ())
    return Choice(claimants[-1], tuple(claimants[:-1]))
