"""Tokens proven by the database: it is logged in at with each, once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from rdsproxy.backend.login import LoginError
from rdsproxy.iam.errors import TokenError, TokenUndecidedError
from rdsproxy.iam.remembering import Claim
from rdsproxy.iam.token import parse_token

Show = Callable[[str, str], Coroutine[Any, Any, None]]
"""Logs in at a database as a user with a token, and leaves. Raises LoginError, and what else a login meets with."""


class LoginProver:
    """Shows RDS tokens to the database that they are for.

    `find` gives what shows them to the one at a host, in small letters, and a port: None if that is not ours. Raises
    TokenUndecidedError if it is, but not there at the moment.
    """

    def __init__(self, find: Callable[[str, int], Show | None], clock: Callable[[], float]) -> None:
        self._find = find
        self._clock = clock

    def claim(self, password: bytes, user: str) -> Claim:
        """Look at its form."""
        token = parse_token(password)
        token.request.check_time(self._clock())
        if token.user != user:
            raise TokenError("it is signed for another user")
        if self._find(token.host, int(token.port)) is None:
            raise TokenError("it is signed for another host or port than the database's")
        shown = password.decode("ascii")
        return Claim(
            token.request, lambda: Deferred.fromCoroutine(self._prove(token.host, int(token.port), user, shown))
        )

    async def _prove(self, host: str, port: int, user: str, token: str) -> None:
        show = self._find(host, port)
        if show is None:
            raise TokenUndecidedError("its database is not there any more")
        try:
            await show(user, token)
        except CancelledError:
            raise
        except LoginError as error:
            # Of what the server says its number alone: the rest might quote what it has been shown.
            why = str(error) if error.err is None else f"error {error.err.code}"
            kind = TokenError if error.is_denial else TokenUndecidedError
            raise kind(f"the database refuses it: {why}") from None
        except Exception as error:
            raise TokenUndecidedError(f"the database cannot be asked: {type(error).__name__}: {error}") from None
