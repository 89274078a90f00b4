"""An Aurora cluster from what its servers say: what they say is the test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rdsproxy.protocol.results import Row
from rdsproxy.topology.aurora import Aurora, who_is_there
from rdsproxy.topology.aurora_probe import GHOST, _health
from rdsproxy.topology.health import REGISTERING, Health, Reason, Role, State
from rdsproxy.topology.target import Place, Target

DOWN = Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE, detail="refused")


def writer(*names: str) -> Health:
    """Give the look at a writer that lists these."""
    return Health(State.AVAILABLE, Role.READ_WRITE, cluster=frozenset(names))


def reader(*names: str) -> Health:
    """Give the look at a reader that lists these."""
    return Health(State.AVAILABLE, Role.READ_ONLY, cluster=frozenset(names))


class Seed:
    """The watch of a seed; the test says what it sees."""

    def __init__(self, in_haste: Callable[[], bool], told: Callable[[Health, bool], None]) -> None:
        self.in_haste = in_haste
        self.told = told
        self.pokes = 0
        self.running = False

    def start(self) -> None:
        self.running = True

    def poke(self) -> None:
        self.pokes += 1

    def stop(self) -> None:
        self.running = False


class Bench:
    """A discovery and the targets that it has found."""

    def __init__(self) -> None:
        self.seeds: list[Seed] = []
        self.targets: list[Target] = []
        self.discovery = Aurora(self.watch, lambda name: Place(f"{name}.example", 3306, f"{name}.example"))
        self.discovery.start(self.found)

    def watch(self, in_haste: Callable[[], bool], told: Callable[[Health, bool], None]) -> Any:
        self.seeds.append(Seed(in_haste, told))
        return self.seeds[-1]

    def found(self, places: Sequence[Place]) -> None:
        kept = [target for target in self.targets if target.place in places]
        new = [place for place in places if place not in [target.place for target in kept]]
        connector: Any = None
        self.targets = [*kept, *(Target(place, connector) for place in new)]

    @property
    def names(self) -> list[str]:
        return sorted(target.place.host.partition(".")[0] for target in self.targets)

    @property
    def asks_seed(self) -> bool:
        return bool(self.seeds) and self.seeds[-1].running

    def seed(self, health: Health) -> list[str]:
        self.seeds[-1].told(health, True)
        return self.names

    def look(self, **seen: Health) -> list[str]:
        for name, health in seen.items():
            next(target for target in self.targets if target.place.host == f"{name}.example").told(health)
            self.discovery.seen(list(self.targets))
        return self.names


def test_the_seed_is_asked_until_a_target_is_the_writer() -> None:
    bench = Bench()
    assert bench.asks_seed
    assert bench.seed(DOWN) == []
    bench.discovery.hurry()
    assert bench.seeds[-1].pokes == 1
    assert bench.seed(reader("a", "b")) == ["a", "b"]
    assert bench.look(b=reader("a", "b")) == ["a", "b"]
    assert bench.asks_seed, "there is no writer yet"
    assert not bench.seeds[-1].in_haste()
    bench.look(b=DOWN)
    assert bench.seeds[-1].in_haste()
    bench.look(a=writer("a", "b"))
    assert not bench.asks_seed
    bench.discovery.hurry()
    bench.look(a=DOWN)
    assert bench.asks_seed
    assert len(bench.seeds) == 2
    bench.discovery.stop()
    assert not bench.asks_seed


def test_whom_nobody_lists_is_gone_when_it_does_not_answer() -> None:
    bench = Bench()
    bench.seed(writer("a", "b"))
    bench.look(a=writer("a", "b"), b=reader("a", "b"))
    assert bench.look(a=writer("a")) == ["a", "b"], "it answers: the writer may not know it yet"
    assert bench.look(b=DOWN) == ["a"]
    assert bench.look(a=writer("a", "c")) == ["a", "c"]


def test_while_nobody_says_anything_all_stay() -> None:
    bench = Bench()
    bench.seed(writer("a", "b"))
    assert bench.look(a=DOWN, b=DOWN) == ["a", "b"]
    assert bench.seed(DOWN) == ["a", "b"]
    assert bench.seed(reader("c")) == ["c"]


def test_the_writers_list_counts_before_readers_lists() -> None:
    old = reader("a", "b", "gone")
    assert who_is_there([("b", old), ("gone", DOWN)]) == frozenset({"a", "b", "gone"})
    assert who_is_there([("b", old), ("gone", DOWN)], writer("a", "b")) == frozenset({"a", "b"})
    assert who_is_there([("a", writer("a", "b")), ("b", old), ("gone", DOWN)]) == frozenset({"a", "b"})
    assert who_is_there([("a", DOWN), ("b", REGISTERING)]) is None


def test_names_that_are_none_are_left_out() -> None:
    assert Bench().seed(writer("a", "b.evil", "", "c d", "-")) == ["a"]


NOW = 1_700_000_000.0


def row(name: str, age: float | None = 0.0, lag: float | None = 10.0, *, is_writer: bool = False) -> Row:
    """Give a row of the table: age in seconds, lag in milliseconds."""
    return (
        name.encode(),
        b"1" if is_writer else b"0",
        None if lag is None else str(lag).encode(),
        None if age is None else str(NOW - age).encode(),
    )


def test_ghosts_are_older_than_the_newest_row() -> None:
    rows = [row("a", is_writer=True, lag=0), row("b", GHOST), row("c", GHOST + 1), row("d", None)]
    seen = _health(Role.READ_ONLY, b"b", rows)
    assert seen.cluster == frozenset({"a", "b", "d"})
    assert seen.lag == 0.01


def test_the_newest_writers_row_counts_whatever_its_age_and_so_does_the_servers_own() -> None:
    rows = [row("old", 900, is_writer=True), row("a", 800, is_writer=True), row("b"), row("c", 700)]
    seen = _health(Role.READ_ONLY, b"c", rows)
    assert seen.cluster == frozenset({"a", "b", "c"})
    assert _health(Role.READ_WRITE, b"a", []).cluster == frozenset({"a"})


def test_a_writer_has_no_lag_and_that_of_a_reader_may_be_unknown() -> None:
    rows = [row("a", lag=0, is_writer=True), row("b", lag=None)]
    assert _health(Role.READ_WRITE, b"a", rows).lag is None
    assert _health(Role.READ_ONLY, b"b", rows).lag is None
    assert _health(Role.READ_ONLY, b"c", rows).lag is None
