"""What a database says to a token, and what is made of it."""

from __future__ import annotations

import time

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError

from rdsproxy.backend.login import LoginError
from rdsproxy.iam.database import LoginProver, Show
from rdsproxy.iam.errors import TokenError, TokenUndecidedError
from rdsproxy.protocol.responses import Err
from tests.iam.tokens import HOST, outcome, sign

SIGNED = time.time()
TOKEN = sign().encode()


def now() -> float:
    """When the token was signed, with which this file was read: on a slow machine it may have expired before a test."""
    return SIGNED


def shows(error: Exception) -> LoginProver:
    async def show(user: str, token: str) -> None:
        assert (user, token) == ("app", TOKEN.decode())
        raise error

    return LoginProver(lambda host, port: show if (host, port) == (HOST, 3306) else None, now)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (LoginError("Planted", Err(1045, "28000", "Planted")), TokenError, "error 1045"),
        (LoginError("Planted", Err(3118, "HY000", "Planted")), TokenError, "error 3118"),
        (LoginError("Planted", Err(1040, "08004", "Planted")), TokenUndecidedError, "error 1040"),
        (LoginError("the server does not offer TLS"), TokenUndecidedError, "does not offer TLS"),
        (ConnectionRefusedError(), TokenUndecidedError, "cannot be asked: ConnectionRefusedError"),
    ],
)
def test_what_is_made_of_an_error(error: Exception, kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason) as caught:
        outcome(shows(error).claim(TOKEN, "app").prove())
    assert "Planted" not in str(caught.value)


def test_the_end() -> None:
    waiting: Deferred[None] = Deferred()

    async def show(user: str, token: str) -> None:
        await waiting

    proving = LoginProver(lambda host, port: show, now).claim(TOKEN, "app").prove()
    proving.cancel()
    with pytest.raises(CancelledError):
        outcome(proving)


def test_its_database_is_not_there() -> None:
    """Which says nothing of the token, neither when it is shown nor when its turn comes."""

    def find(host: str, port: int) -> Show | None:
        raise TokenUndecidedError("there is no writer at the moment")

    with pytest.raises(TokenUndecidedError, match="no writer"):
        LoginProver(find, now).claim(TOKEN, "app")
    found: list[Show | None] = [None, shows(LoginError(""))._find(HOST, 3306)]
    claim = LoginProver(lambda host, port: found.pop(), now).claim(TOKEN, "app")
    with pytest.raises(TokenUndecidedError, match="not there any more"):
        outcome(claim.prove())
