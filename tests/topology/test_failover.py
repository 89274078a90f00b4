"""The machine, state by state."""

from __future__ import annotations

from typing import Any

import pytest

from rdsproxy.topology.failover import Core, Failover, make_failover


class Bench:
    """A machine, and what it does."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.core = Core(
            serve=lambda target, before: self.done.append(("serve", target, before)),
            wait=lambda: self.done.append("wait"),
            lost=lambda why: self.done.append(("lost", why)),
            leave=lambda target: self.done.append(("leave", target)),
        )
        self.failover: Failover = make_failover(self.core)

    def do(self, *events: object) -> list[object]:
        """Let things happen; give what the machine does for the last one."""
        for event in events:
            self.done.clear()
            name, *arguments = event if isinstance(event, tuple) else (event,)
            getattr(self.failover, str(name))(*arguments)
        return list(self.done)


A: Any = "a"
B: Any = "b"
FOUND, OTHER, LOST = ("found", A), ("found", B), ("lost", "why")
STATES: dict[str, list[object]] = {
    "seeking": [],
    "serving": [FOUND],
    "checking": [FOUND, "doubt"],
    "holding": [FOUND, LOST],
    "paused": [FOUND, "pause"],
}


@pytest.mark.parametrize(
    ("state", "event", "done", "then"),
    [
        ("seeking", FOUND, [("serve", A, None)], "serving"),
        ("seeking", LOST, [], "seeking"),
        ("seeking", "doubt", [], "seeking"),
        ("seeking", "pause", [], "paused"),
        ("seeking", "resume", [], "seeking"),
        ("serving", FOUND, [], "serving"),
        ("serving", OTHER, [("serve", B, A), ("leave", A)], "serving"),
        ("serving", LOST, ["wait", ("lost", "why")], "holding"),
        ("serving", "doubt", ["wait"], "checking"),
        ("serving", "pause", ["wait"], "paused"),
        ("serving", "resume", [], "serving"),
        ("checking", FOUND, [("serve", A, A)], "serving"),
        ("checking", OTHER, [("serve", B, A), ("leave", A)], "serving"),
        ("checking", LOST, ["wait", ("lost", "why")], "holding"),
        ("checking", "doubt", [], "checking"),
        ("checking", "pause", [], "paused"),
        ("checking", "resume", [], "checking"),
        ("holding", FOUND, [("serve", A, A)], "serving"),
        ("holding", OTHER, [("serve", B, A), ("leave", A)], "serving"),
        ("holding", LOST, [], "holding"),
        ("holding", "doubt", [], "holding"),
        ("holding", "pause", [], "paused"),
        ("holding", "resume", [], "holding"),
        ("paused", FOUND, [], "paused"),
        ("paused", OTHER, [], "paused"),
        ("paused", LOST, [], "paused"),
        ("paused", "doubt", [], "paused"),
        ("paused", "pause", [], "paused"),
        ("paused", "resume", [], "checking"),
    ],
)
def test_each_event_in_each_state(state: str, event: object, done: list[object], then: str) -> None:
    bench = Bench()
    bench.do(*STATES[state])
    assert bench.do(event) == done
    assert reaction(bench) == reaction_of(then)


def reaction(bench: Bench) -> list[list[object]]:
    """Tell states apart by what they answer: nothing else shows them."""
    return [
        [item if isinstance(item, str) else item[0] for item in bench.do(event)[:1]]  # type: ignore[index]
        for event in ("doubt", LOST, "resume", ("found", "c"))
    ]


def reaction_of(state: str) -> list[list[object]]:
    bench = Bench()
    bench.do(*STATES[state])
    return reaction(bench)


def test_whoever_is_the_writer_after_a_pause_serves() -> None:
    bench = Bench()
    assert bench.do(FOUND, "pause", LOST, "resume", OTHER) == [("serve", B, A), ("leave", A)]
