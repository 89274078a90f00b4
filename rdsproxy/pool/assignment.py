"""Who gets which connection, what to open, what to close. Bookkeeping alone: no I/O, no clock.

Connections and waiters are any objects. A connection is idle, busy (on loan, or being cleaned) or opening; the sum of
all three never exceeds the limit. Waiters are served first come, first served within a key, and fairly between keys:
the key that holds the fewest connections goes first, and those that hold none take turns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Connection = TypeVar("Connection", bound=Hashable)
Waiter = TypeVar("Waiter")


@dataclass(slots=True)
class Plan(Generic[Key, Connection, Waiter]):
    """What to do now."""

    lend: list[tuple[Waiter, Connection]] = field(default_factory=list)
    open: list[Key] = field(default_factory=list)
    close: list[Connection] = field(default_factory=list)


class Shelf(Generic[Connection, Waiter]):
    """The connections and waiters of one key."""

    __slots__ = ("by_state", "ended", "idle", "opening", "served", "taken", "turn", "waiting")

    def __init__(self) -> None:
        self.idle: OrderedDict[Connection, object] = OrderedDict()
        """Idle connections and their states, longest unused first."""
        self.by_state: dict[object, dict[Connection, None]] = {}
        # These three only grow: one addition for each loan tells how many there are and how many there were.
        self.taken = 0
        """Loans made at once."""
        self.served = 0
        """Loans that a plan has made."""
        self.ended = 0
        """Loans of both kinds that are over."""
        self.opening = 0
        self.turn = 0
        """When a plan served it last, as a number that grows."""
        self.waiting: OrderedDict[Waiter, object] = OrderedDict()
        """Waiters and the states they want, longest waiting first."""

    @property
    def busy(self) -> int:
        """How many connections are on loan."""
        return self.taken + self.served - self.ended

    @property
    def rank(self) -> tuple[int, int]:
        """The lowest is served first: who holds least.

        Where nothing is held, the longest unserved: otherwise, with more keys than connections, some would never be.
        Where something is, one that needs no login.
        """
        held = self.busy + self.opening
        return held, (not self.idle) if held else self.turn

    def put(self, connection: Connection, state: object) -> None:
        """Have a connection lie idle."""
        self.idle[connection] = state
        same = self.by_state.get(state)
        if same is None:
            self.by_state[state] = {connection: None}
        else:
            same[connection] = None

    def remove(self, connection: Connection) -> bool:
        """Take a given connection off the shelf, if it is there."""
        if connection not in self.idle:
            return False
        state = self.idle.pop(connection)
        same = self.by_state[state]
        del same[connection]
        if not same:
            del self.by_state[state]
        return True

    def take(self, state: object) -> Connection | None:
        """Take the connection of this state that was used last."""
        same = self.by_state.get(state)
        if same is None:
            return None
        connection, _ = same.popitem()
        if not same:
            del self.by_state[state]
        del self.idle[connection]
        return connection

    def take_oldest(self) -> Connection:
        """Take the connection that is unused for longest."""
        connection, state = self.idle.popitem(last=False)
        same = self.by_state[state]
        del same[connection]
        if not same:
            del self.by_state[state]
        return connection


class Assignment(Generic[Key, Connection, Waiter]):
    """The books of one target's pool."""

    __slots__ = ("_opening", "_shelves", "_turns", "_waiting", "limit", "opening_limit", "total")

    def __init__(self, limit: int, opening_limit: int) -> None:
        self.limit = limit
        """At most so many connections, those being opened included."""
        self.opening_limit = opening_limit
        """At most so many being opened at a time: a spike of clients must not become a spike of logins."""
        self._shelves: dict[Key, Shelf[Connection, Waiter]] = {}
        self._opening = 0
        self._waiting = 0
        self._turns = 0
        self.total = 0
        """Connections of all keys: idle, busy and opening."""

    # -- the short way -----------------------------------------------------------------------------------------------

    # Has a twin in shortcut/lending.c.
    def take(self, key: Key, state: object) -> Connection | None:
        """Lend an idle connection whose state fits, unless someone has been waiting."""
        shelf = self._shelves.get(key)
        if shelf is None or self._waiting:
            return None
        connection = shelf.take(state)
        if connection is not None:
            shelf.taken += 1
        return connection

    def take_any(self, key: Key) -> Connection | None:
        """Lend an idle connection in whatever state, before all who wait."""
        shelf = self._shelves.get(key)
        if shelf is None or not shelf.idle:
            return None
        shelf.taken += 1
        return shelf.take_oldest()

    def take_this(self, key: Key, connection: Connection) -> bool:
        """Lend this very connection, if it is idle."""
        shelf = self._shelves.get(key)
        if shelf is None or not shelf.remove(connection):
            return False
        shelf.taken += 1
        return True

    # Has a twin in shortcut/lending.c.
    def give_back(self, key: Key, connection: Connection, state: object) -> Waiter | bool:
        """End a loan.

        Gives the waiter to whom the connection is lent next, where that is plain; True when a plan must tell who is
        served; False when nobody waits.
        """
        shelf = self._shelves[key]
        if self._waiting and self._waiting == len(shelf.waiting) and self.total <= self.limit:
            waiter, _ = shelf.waiting.popitem(last=False)
            self._waiting -= 1
            return waiter
        shelf.ended += 1
        shelf.put(connection, state)
        return bool(self._waiting) or self.total > self.limit

    # -- events --------------------------------------------------------------------------------------------------------

    # Has a twin in shortcut/lending.c.
    def wait(self, key: Key, waiter: Waiter, state: object) -> bool:
        """Put a waiter at the end of its key's queue. True: it may be served now, so ask for a plan."""
        shelf = self._shelves.get(key) or self._shelf(key)
        waiting = shelf.waiting
        self._waiting += 1
        if waiting and not shelf.opening:
            # Nobody could serve those before it, so nobody can serve one more.
            waiting[waiter] = state
            return False
        waiting[waiter] = state
        return self.total < self.limit or any(other.idle for other in self._shelves.values())

    def forget(self, key: Key, waiter: Waiter) -> bool:
        """Take a waiter that has left, or was failed, out of the queue; tell whether it was there."""
        shelf = self._shelves.get(key)
        if shelf is None or shelf.waiting.pop(waiter, self) is self:
            return False
        self._waiting -= 1
        return True

    def begin_opening(self, key: Key) -> None:
        """Note a connection that is opened for some other reason than a plan."""
        self._shelf(key).opening += 1
        self._opening += 1
        self.total += 1

    def opened(self, key: Key, connection: Connection, state: object) -> None:
        """Note that one of the openings is an idle connection now."""
        shelf = self._shelves[key]
        shelf.opening -= 1
        self._opening -= 1
        shelf.put(connection, state)

    def not_opened(self, key: Key) -> None:
        """Note that an opening failed."""
        self._shelves[key].opening -= 1
        self._opening -= 1
        self.total -= 1

    def gone(self, key: Key, connection: Connection) -> None:
        """Note that a connection, idle or busy, is closed."""
        shelf = self._shelves[key]
        if not shelf.remove(connection):
            shelf.ended += 1
        self.total -= 1

    # -- the decision --------------------------------------------------------------------------------------------------

    def plan(self) -> Plan[Key, Connection, Waiter]:
        """Serve as many waiters as can be served, and note it as done."""
        plan: Plan[Key, Connection, Waiter] = Plan()
        while self.total > self.limit:
            surplus = self._oldest_idle(None)
            if surplus is None:
                break
            plan.close.append(surplus)
            self.total -= 1
        while self._waiting:
            # A key with enough openings under way for all its waiters wants nothing more.
            wanting = [
                shelf_of
                for shelf_of in self._shelves.items()
                if shelf_of[1].waiting and (shelf_of[1].idle or shelf_of[1].opening < len(shelf_of[1].waiting))
            ]
            if not wanting:
                break
            key, shelf = min(wanting, key=lambda item: item[1].rank)
            if shelf.idle:
                self._lend(shelf, plan)
            elif self._opening >= self.opening_limit:
                served = next((other for _, other in wanting if other.idle), None)
                if served is None:
                    break
                self._lend(served, plan)
            elif self.total < self.limit:
                self.begin_opening(key)
                plan.open.append(key)
            else:
                surplus = self._oldest_idle(shelf)
                if surplus is None:
                    break
                plan.close.append(surplus)
                self.begin_opening(key)
                self.total -= 1
                plan.open.append(key)
        return plan

    def _lend(self, shelf: Shelf[Connection, Waiter], plan: Plan[Key, Connection, Waiter]) -> None:
        waiter, state = shelf.waiting.popitem(last=False)
        self._waiting -= 1
        connection = shelf.take(state)
        if connection is None:
            connection = shelf.take_oldest()
        shelf.served += 1
        self._turns += 1
        shelf.turn = self._turns
        plan.lend.append((waiter, connection))

    def _oldest_idle(self, other_than: Shelf[Connection, Waiter] | None) -> Connection | None:
        """Take an idle connection of the key that has most of them."""
        shelves = [shelf for shelf in self._shelves.values() if shelf.idle and shelf is not other_than]
        if not shelves:
            return None
        return max(shelves, key=lambda shelf: len(shelf.idle)).take_oldest()

    def _shelf(self, key: Key) -> Shelf[Connection, Waiter]:
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf()
            shelf.turn = self._turns
        return shelf

    # -- what there is -------------------------------------------------------------------------------------------------

    def idle(self) -> Iterator[Connection]:
        """Give the idle connections, longest unused first within each key."""
        for shelf in self._shelves.values():
            yield from shelf.idle

    @property
    def short(self) -> bool:
        """Somebody waits, and there is neither an idle connection nor one on its way, nor room for another."""
        return (
            self._waiting > self._opening
            and self.total >= self.limit
            and not any(shelf.idle for shelf in self._shelves.values())
        )

    def wants(self, key: Key) -> bool:
        """Tell whether anyone waits for a connection of this key."""
        return bool(self._shelf(key).waiting)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def taken(self) -> int:
        """How many loans there have been for which nobody had to wait."""
        return sum(shelf.taken for shelf in self._shelves.values())

    @property
    def busy(self) -> int:
        """How many connections are on loan."""
        return sum(shelf.busy for shelf in self._shelves.values())

    def keys(self) -> list[Key]:
        """Give the keys there have been connections or waiters of."""
        return list(self._shelves)

    def waits(self, key: Key, waiter: Waiter) -> bool:
        """Tell whether it is in the queue."""
        shelf = self._shelves.get(key)
        return shelf is not None and waiter in shelf.waiting

    def heads(self) -> Iterator[Waiter]:
        """Give the waiter of each key that has waited longest."""
        return (next(iter(shelf.waiting)) for shelf in self._shelves.values() if shelf.waiting)

    def waiters(self, key: Key) -> list[Waiter]:
        """Give the waiters of a key, longest waiting first."""
        return list(self._shelf(key).waiting)

    def all_waiters(self) -> list[Waiter]:
        """Give the waiters of all keys, longest waiting first within each."""
        return [waiter for shelf in self._shelves.values() for waiter in shelf.waiting]
