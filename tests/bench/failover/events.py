"""What befalls the primary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.failover.scene import Network, Scene
from tests.failover.bank import Bank

AGE = 1.0
"""Seconds from the return of an old primary to the moment when clients make new connections."""


@dataclass(frozen=True)
class Moments:
    """When it was, of ``time.monotonic``."""

    event: float
    writable: float | None = None
    """A new primary began to accept writes; None: there is no new one."""
    renewed: float | None = None
    """Clients were told to make new connections."""


Happen = Callable[[Scene, Bank, float], Moments]
"""Let it happen while clients write; the number is the delay from there to the promotion, in seconds."""


@dataclass(frozen=True)
class Event:
    """One kind of failover. ``what`` says it to readers; ``before`` comes before the clients do."""

    name: str
    what: str
    happen: Happen
    network: Network = "plain"
    before: Callable[[Scene], None] | None = None


def _forced(fail: Callable[[Scene], None]) -> Happen:
    def happen(scene: Scene, bank: Bank, delay: float) -> Moments:
        event = time.monotonic()
        fail(scene)
        time.sleep(max(0.0, event + delay - time.monotonic()))
        scene.promote()
        return Moments(event, scene.writable)

    return happen


def _planned(scene: Scene, bank: Bank, delay: float) -> Moments:
    event = time.monotonic()
    scene.switch_over()
    return Moments(event, scene.writable)


def _failed_over(scene: Scene) -> None:
    scene.old.kill()
    scene.promote()


def _returns(scene: Scene, bank: Bank, delay: float) -> Moments:
    scene.servers.rejoin(scene.old)
    event = time.monotonic()
    time.sleep(AGE)
    bank.renew()
    return Moments(event, renewed=event + AGE)


EVENTS = (
    Event("kill", "the primary is killed (SIGKILL)", _forced(lambda scene: scene.old.kill())),
    Event("stop", "the primary shuts down in order", _forced(Scene.shut_down)),
    Event("freeze", "the primary freezes (SIGSTOP)", _forced(lambda scene: scene.old.pause())),
    Event("cut", "the network before the primary is cut", _forced(lambda scene: scene.cut()), "cable"),
    Event("switchover", "a planned exchange of the roles", _planned),
    Event(
        "dns",
        "the primary is killed, and its name moves to the new one",
        _forced(lambda scene: scene.old.kill()),
        "name",
    ),
    Event(
        "return",
        "an old primary comes back and takes writes",
        _returns,
        before=_failed_over,
    ),
)
