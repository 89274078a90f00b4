"""Tokens that are shown again: where that is refused, in whatever form, and where it is not.

Through proxies: in `test_kept_keys`, whose proxies are like that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.keys import AccessKey, KeyVerifier
from rdsproxy.iam.reuse import FirstUse
from rdsproxy.interfaces import ITokenVerifier
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET, outcome, sign

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Scene:
    def __init__(self, same_address: bool) -> None:
        keys = {KEY_ID: AccessKey(SECRET, frozenset(("app",)))}
        self.clock = Clock()
        self.verifier = FirstUse(
            KeyVerifier(lambda: keys, HOST, REGION, time.time), same_address, self.clock.seconds
        )

    def shows(self, token: str, address: str = HERE) -> None:
        outcome(self.verifier.verify(token.encode(), "app", address))


def test_it_is_a_verifier() -> None:
    verifyObject(ITokenVerifier, Scene(True).verifier)


def test_once() -> None:
    scene, token = Scene(False), sign()
    scene.shows(token)
    with pytest.raises(TokenError, match="used before"):
        scene.shows(token)
    scene.shows(sign(expires=600))


# Ways to write the same request, which the same signature is good for.
FORMS: dict[str, Callable[[str], str]] = {
    "small letters in what is quoted": lambda token: token.replace("%2F", "%2f"),
    "not quoted": lambda token: token.replace("%2F", "/"),
    "more quoted": lambda token: token.replace("Action=connect", "Action=%63onnect"),
    "the signature quoted": lambda token: token[:-1] + f"%{ord(token[-1]):x}",
    "another order": lambda token: "/?".join(
        (token.partition("/?")[0], "&".join(reversed(token.partition("/?")[2].split("&"))))
    ),
    "capitals in the host": lambda token: token.replace(HOST, HOST.upper()),
}


@pytest.mark.parametrize("form", FORMS)
def test_once_however_it_is_written(form: str) -> None:
    scene, token = Scene(False), sign()
    other = FORMS[form](token)
    assert other != token
    # It is as good.
    Scene(False).shows(other)
    scene.shows(token)
    with pytest.raises(TokenError, match="used before"):
        scene.shows(other)


def test_from_one_address() -> None:
    scene, token = Scene(True), sign()
    scene.shows(token)
    scene.shows(token)
    with pytest.raises(TokenError, match="first used from another address"):
        scene.shows(token, ELSEWHERE)
    scene.shows(token)


def test_what_is_refused_has_not_been_used() -> None:
    scene, token = Scene(False), sign()
    with pytest.raises(TokenError, match="another user"):
        outcome(scene.verifier.verify(token.encode(), "other", HERE))
    scene.shows(token)


def test_it_is_forgotten_when_it_has_expired_in_any_case() -> None:
    scene, token = Scene(False), sign()
    scene.shows(token)
    scene.clock.advance(1200)
    with pytest.raises(TokenError, match="used before"):
        scene.shows(token)
    scene.clock.advance(1)
    scene.shows(token)  # on a clock that says that it is still good
