"""The machine that decides where writers' clients go: the states of one target group.

    state       found      lost       doubt      pause      resume
    seeking     serving    .          .          paused     .
    serving     . (*)      holding    checking   paused     .
    checking    serving    holding    .          paused     .
    holding     serving    .          .          paused     .
    paused      .          .          .          .          checking

(*) With another target that is a switchover: the new writer serves, and the old one is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from automat import TypeMachineBuilder, pep614

from rdsproxy.topology.target import Target


class Failover(Protocol):
    """What happens to it."""

    def found(self, writer: Target) -> None:
        """This target is the writer, new or as before."""

    def lost(self, why: str) -> None:
        """No target is the writer."""

    def doubt(self) -> None:
        """Traffic has met with what a failover begins with: wait until the writer has been looked at."""

    def pause(self) -> None:
        """An operator is about to move the writer: let nothing new begin."""

    def resume(self) -> None:
        """Go on, with whoever is the writer by now."""


@dataclass
class Core:
    """What it does, and what it remembers."""

    serve: Callable[[Target, Target | None], None]
    """Lead clients to this target; the other is the one that was the writer before, if any was."""
    wait: Callable[[], None]
    """Let clients wait."""
    lost: Callable[[str], None]
    """Note that the writer is lost, and why; clients wait."""
    leave: Callable[[Target], None]
    """End the connections to a target that is not the writer any more."""
    writer: Target | None = None
    """The one that serves, or was the last to do so."""

    def go_to(self, writer: Target) -> None:
        """Serve, and leave the writer before it."""
        old, self.writer = self.writer, writer
        self.serve(writer, old)
        if old is not None and old is not writer:
            self.leave(old)


def _make() -> Callable[[Core], Failover]:
    machine = TypeMachineBuilder(Failover, Core)

    seeking = machine.state("seeking")
    serving = machine.state("serving")
    checking = machine.state("checking")
    holding = machine.state("holding")
    paused = machine.state("paused")

    @pep614(seeking.upon(Failover.found).to(serving))
    @pep614(checking.upon(Failover.found).to(serving))
    @pep614(holding.upon(Failover.found).to(serving))
    def found(failover: Failover, core: Core, writer: Target) -> None:
        core.go_to(writer)

    @pep614(serving.upon(Failover.found).loop())
    def found_while_serving(failover: Failover, core: Core, writer: Target) -> None:
        if writer is not core.writer:
            core.go_to(writer)

    @pep614(serving.upon(Failover.lost).to(holding))
    @pep614(checking.upon(Failover.lost).to(holding))
    def lost(failover: Failover, core: Core, why: str) -> None:
        core.wait()
        core.lost(why)

    @pep614(serving.upon(Failover.doubt).to(checking))
    @pep614(serving.upon(Failover.pause).to(paused))
    def wait(failover: Failover, core: Core) -> None:
        core.wait()

    # What the writer was before a pause says nothing of what it is after it.
    paused.upon(Failover.resume).to(checking).returns(None)

    for state in (seeking, checking, holding):
        state.upon(Failover.pause).to(paused).returns(None)
    for state in (seeking, holding, paused):
        state.upon(Failover.lost).loop().returns(None)
    for state in (seeking, checking, holding, paused):
        state.upon(Failover.doubt).loop().returns(None)
    for state in (seeking, serving, checking, holding):
        state.upon(Failover.resume).loop().returns(None)
    paused.upon(Failover.pause).loop().returns(None)
    paused.upon(Failover.found).loop().returns(None)

    return machine.build()


make_failover: Final = _make()
"""Make a machine around a core; it is seeking."""
