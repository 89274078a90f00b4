"""Tokens are asked about once, few at a time, with a clock and proofs that come as the test says."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from rdsproxy.iam import remembering
from rdsproxy.iam.errors import TokenError, TokenUndecidedError, TooManyTokensError
from rdsproxy.iam.remembering import MOST_WAITING, PATIENCE, Claim, RememberingVerifier
from rdsproxy.iam.token import parse_token
from rdsproxy.interfaces import ITokenVerifier
from tests.iam.tokens import outcome, sign

AT_ONCE = 2


class Prover:
    """Takes any token for one that is signed now and is good for ten seconds more than it is long."""

    def __init__(self, clock: Clock) -> None:
        self.asked: list[Deferred[None]] = []
        self.at_once = False
        self.claimed = 0

    def claim(self, password: bytes, user: str) -> Claim:
        self.claimed += 1
        return Claim(parse_token(password).request, self._prove)

    def _prove(self) -> Deferred[None]:
        self.asked.append(succeed(None) if self.at_once else Deferred())
        return self.asked[-1]


class Scene:
    """A verifier, and tokens that are made once: each is as good as the others."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.prover = Prover(self.clock)
        self.token = sign(expires=900).encode()
        self.good_until = parse_token(self.token).request.good_until
        self.time = self.good_until - 900
        self.verifier = RememberingVerifier(self.prover, AT_ONCE, lambda: self.time, self.clock)

    def shows(self, number: int = 0, user: str = "app") -> Deferred[str]:
        """Show a token, of which each number has one."""
        return self.verifier.verify(self.token[:-8] + f"{number:08x}".encode(), user, "192.0.2.1")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_is_a_verifier(scene: Scene) -> None:
    verifyObject(ITokenVerifier, scene.verifier)


def test_once_for_all_who_wait_and_not_again_until_it_expires(scene: Scene) -> None:
    first, second = scene.shows(), scene.shows()
    scene.prover.asked[0].callback(None)
    signature = scene.token[-64:-8].decode() + "0" * 8
    assert outcome(first) == outcome(second) == signature
    scene.time = scene.good_until
    assert outcome(scene.shows()) == signature
    assert len(scene.prover.asked) == 1
    scene.time = scene.good_until + 1
    scene.shows()
    assert len(scene.prover.asked) == 2


def test_each_user_by_itself(scene: Scene) -> None:
    scene.shows(user="app")
    scene.shows(user="other")
    assert len(scene.prover.asked) == 2


def test_a_refusal_is_for_all_who_wait_and_is_not_kept(scene: Scene) -> None:
    first, second = scene.shows(), scene.shows()
    scene.prover.asked[0].errback(TokenError("no"))
    for shown in (first, second):
        with pytest.raises(TokenError, match="no"):
            outcome(shown)
    third = scene.shows()
    scene.prover.asked[1].callback(None)
    outcome(third)


def test_whoever_leaves_does_not_take_the_answer_from_others(scene: Scene) -> None:
    first, second = scene.shows(), scene.shows()
    first.cancel()
    with pytest.raises(CancelledError):
        outcome(first)
    scene.prover.asked[0].callback(None)
    outcome(second)


def test_few_at_a_time_and_not_for_those_who_left(scene: Scene) -> None:
    shown = [scene.shows(number) for number in range(4)]
    assert len(scene.prover.asked) == AT_ONCE
    shown[2].addErrback(lambda failure: failure.trap(CancelledError))
    shown[2].cancel()
    scene.prover.asked[0].callback(None)
    assert len(scene.prover.asked) == 3
    scene.prover.asked[2].callback(None)
    outcome(shown[3])


def test_whoever_comes_again_after_all_have_left_is_answered(scene: Scene) -> None:
    for number in range(AT_ONCE):
        scene.shows(number)
    waits = scene.shows(9)
    waits.addErrback(lambda failure: failure.trap(CancelledError))
    waits.cancel()
    again = scene.shows(9)
    scene.prover.asked[0].callback(None)
    scene.prover.asked[2].callback(None)
    outcome(again)


def test_too_many(scene: Scene) -> None:
    shown = [scene.shows(number) for number in range(MOST_WAITING)]
    with pytest.raises(TooManyTokensError):
        outcome(scene.shows(MOST_WAITING))
    # One that somebody waits for already is one less to ask about.
    known = scene.shows(0)
    scene.prover.asked[0].callback(None)
    outcome(known)
    scene.shows(MOST_WAITING)
    assert not shown[-1].called


def test_what_is_malformed_does_not_wait(scene: Scene) -> None:
    for number in range(MOST_WAITING):
        scene.shows(number)
    with pytest.raises(TokenError, match="HOST:PORT"):
        outcome(scene.verifier.verify(b"x", "app", "192.0.2.1"))


def test_an_answer_that_does_not_come(scene: Scene) -> None:
    shown = [scene.shows(number) for number in range(AT_ONCE + 1)]
    scene.clock.advance(PATIENCE)
    for waiting in shown:
        with pytest.raises(TokenUndecidedError, match="takes too long"):
            outcome(waiting)
    # Others have their turn.
    last = scene.shows(9)
    scene.prover.asked[-1].callback(None)
    outcome(last)


def test_memory_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_REMEMBERED", 10)
    scene.prover.at_once = True
    for number in range(11):
        outcome(scene.shows(number))
    asked = len(scene.prover.asked)
    scene.shows(10)
    assert len(scene.prover.asked) == asked
    scene.shows(0)
    assert len(scene.prover.asked) == asked + 1


def test_the_end(scene: Scene) -> None:
    shown = [scene.shows(number) for number in range(AT_ONCE + 1)]
    scene.verifier.stop()
    for waiting in shown:
        with pytest.raises(CancelledError):
            outcome(waiting)
    assert len(scene.prover.asked) == AT_ONCE
    assert scene.clock.getDelayedCalls() == []
