"""One of a kind at a time, however many ask for it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred


class Turns:
    """Runs `work`, which never fails, again and again, but never twice at a time.

    Whoever asks while it runs waits for one more turn, shared by all of these: what the running one has found may be
    older than their question.
    """

    def __init__(self, work: Callable[[], Deferred[None]]) -> None:
        self._work = work
        self._running = False
        self._waiting: list[Deferred[None]] = []
        self._served: list[Deferred[None]] = []
        """Those for whom the running turn is."""

    def ask(self) -> Deferred[None]:
        """Fires at the end of a turn that begins now or later. Cancellable; the turn is not cancelled by that."""
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        if not self._running:
            self._run()
        return done

    def join(self) -> Deferred[None]:
        """Do as `ask`, if no turn is running; one that is will do."""
        if not self._running:
            return self.ask()
        done: Deferred[None] = Deferred()
        self._served.append(done)
        return done

    def _run(self) -> None:
        self._served, self._waiting = self._waiting, []
        self._running = True
        self._work().addCallback(self._ended)

    def _ended(self, _: None) -> None:
        self._running = False
        served, self._served = self._served, []
        for done in served:
            done.callback(None)
        # One of them may have asked again, and so have begun the next turn.
        if self._waiting and not self._running:
            self._run()
