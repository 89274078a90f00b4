"""How a client proves who it is: by a password, or by an IAM token. What it is told of a failure does not say why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymysql.constants import ER
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.frontend.networks import source_of
from rdsproxy.iam.errors import TokenError, TokenUndecidedError, TooManyTokensError
from rdsproxy.logging import log_unexpected
from rdsproxy.protocol.authentication import clear
from rdsproxy.protocol.authentication.server import ServerAuthentication
from rdsproxy.protocol.handshake import AuthMoreData, Greeting
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors

if TYPE_CHECKING:
    from rdsproxy.frontend.connection import ClientConnection
    from rdsproxy.frontend.login import Login

TLS_REQUIRED: Final = Err(3159, "HY000", "This RDS Proxy requires TLS connections.")
OF_AUTHENTICATION: Final = frozenset((ER.ACCESS_DENIED_ERROR, TLS_REQUIRED.code))
"""Codes of the errors of who is refused for its user, its proof or its lack of TLS."""
NOT_YET: Final = Err(
    3168,
    "HY000",
    "Server isn't available for this user: the proxy cannot read all of its secrets at the moment; try again later",
)
"""ER_SERVER_ISNT_AVAILABLE. Also for wrong passwords of users who are known: the answer does not tell who is."""
UNDECIDED: Final = Err(
    3168,
    "HY000",
    "Server isn't available for this user: the proxy cannot verify IAM tokens at the moment; try again later",
)
_TOO_MANY_TOKENS: Final = Err(1040, "HY000", "IAM authentication rate limit exceeded")
_SCRAMBLE_REFUSED: Final = AuthMoreData(b"\x04").build()
"""caching_sha2_password's request for the password itself."""


class Proof:
    """One client's attempt to prove that it is `user`. It ends in `login.proven` or `login.fail`.

    `greeting` is the one that this answers; None for a COM_CHANGE_USER.
    """

    def __init__(self, login: Login, client: ClientConnection, user: bytes, greeting: Greeting | None) -> None:
        self._login = login
        self._client = client
        self._door = client.door
        self._user = user
        self._greeting = greeting
        self._authentication: ServerAuthentication | None = None
        self._waiting: Deferred[Any] | None = None
        self._counted = False
        """As a failed login."""

    def begin(self, plugin: str | None, response: bytes) -> None:
        """Look at what the client has sent with its name, or ask for something else."""
        door = self._door
        if door.accounts.takes_token(self._user):
            self._ask_for_token()
            return
        self._authentication = ServerAuthentication(
            door.accounts.find(self._user, self._client.subject),
            door.accounts.decoy,
            greeting=self._greeting,
            plugin=plugin,
            response=response,
            secure=self._client.secure,
            keys=door.keys,
        )
        self._answer(self._authentication, self._authentication.start())

    def receive(self, payload: bytes) -> None:
        """Take the client's next packet. Raises ProtocolError."""
        if self._authentication is None:
            self._token(clear.shown(payload))
        else:
            self._answer(self._authentication, self._authentication.receive(payload))

    def cancel(self) -> None:
        """The client is gone: wait for nothing any more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _ask_for_token(self) -> None:
        # What the client has sent so far is not looked at: not every client shows a token unasked.
        if not self._client.secure:
            self._login.fail("an IAM token needs TLS", TLS_REQUIRED)
        elif not self._has_guessed_too_often(_TOO_MANY_TOKENS):
            self._login.send(clear.ASK)

    def _token(self, token: bytes) -> None:
        def proven(_: None) -> None:
            self._waiting = None
            self._accept()

        def not_proven(failure: Failure) -> None:
            self._waiting = None
            self._not_proven(failure, used_password=bool(token))

        self._login.hear_no_more()
        # Once more: others that were asked at the same time may have been refused since.
        if self._has_guessed_too_often(_TOO_MANY_TOKENS):
            return
        # From here on it is not the client who takes its time.
        self._client.stop_timer()
        self._waiting = waiting = self._door.accounts.prove(self._user, token, self._client.peer, self._client.subject)
        waiting.addCallbacks(proven, not_proven)

    def _not_proven(self, failure: Failure, used_password: bool) -> None:
        error = failure.value
        if isinstance(error, TokenError):
            self._deny(used_password, f"the IAM token is refused: {error}")
        elif isinstance(error, TokenUndecidedError):
            err = _TOO_MANY_TOKENS if isinstance(error, TooManyTokensError) else UNDECIDED
            self._login.fail(f"the IAM token cannot be verified: {error}", err, user=self._name)
        elif not failure.check(CancelledError):
            log_unexpected(self._client.log, failure)
            self._login.fail("internal error", errors.INTERNAL)

    # -- passwords ----------------------------------------------------------------------------------------------------

    def _answer(self, authentication: ServerAuthentication, payloads: list[bytes]) -> None:
        # Before anything is sent: each answer tells whether a guess was right, also to those who guess at once.
        limit = self._door.failed_logins.limit
        if self._has_guessed_too_often(Err(1040, "HY000", f"Connections rate limit exceeded ({limit})")):
            return
        if _SCRAMBLE_REFUSED in payloads:
            # It has been said that this guess was wrong: it counts, even if the client leaves now.
            self._count_failure()
        for payload in payloads:
            self._login.send(payload)
        if authentication.verdict is None:
            return
        self._login.hear_no_more()
        if authentication.verdict:
            self._accept()
        elif authentication.used_password:
            self._look_again(authentication)
        else:
            self._deny(used_password=False)

    def _look_again(self, authentication: ServerAuthentication) -> None:
        """Deny the client, unless it turns out that its password is newer than what is known."""

        def looked(_: None) -> None:
            self._waiting = None
            authentication.reconsider(self._door.accounts.find(self._user, self._client.subject))
            if authentication.verdict:
                self._accept()
            else:
                self._deny(used_password=True)

        # From here on it is not the client who takes its time.
        self._client.stop_timer()
        self._waiting = waiting = self._door.accounts.credentials.look_again()
        waiting.addCallbacks(looked, lambda failure: failure.trap(CancelledError))

    # -- the verdict --------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._user.decode("utf-8", "replace")

    @property
    def _guesser(self) -> tuple[str, bytes]:
        return source_of(self._client.peer), self._user

    def _has_guessed_too_often(self, err: Err) -> bool:
        """Refuse who has failed too often. One that has been counted was within the limit, and goes on to its end."""
        if self._counted or not self._door.failed_logins.is_reached(self._guesser):
            return False
        self._login.fail("max_failed_logins", err, user=self._name)
        return True

    def _count_failure(self) -> None:
        if not self._counted:
            self._counted = True
            self._door.failed_logins.add(self._guesser)

    def _accept(self) -> None:
        if self._counted:
            self._door.failed_logins.take_back(self._guesser)
        self._login.proven()

    def _deny(self, used_password: bool, reason: str = "access denied") -> None:
        self._count_failure()
        reason = self._door.accounts.certificate_problem(self._user, self._client.subject) or reason
        account = f"'{self._name}'@'{self._client.peer}' (using password: {'YES' if used_password else 'NO'})"
        if not self._door.accounts.credentials.complete:
            reason += ", and not all secrets are known"
            err = NOT_YET
        elif self._greeting is not None:
            err = Err(1045, "28000", f"Access denied for user {account}")
        else:
            err = Err(1873, "28000", f"Access denied trying to change to user {account}. Disconnecting.")
        self._login.fail(reason, err, user=self._name)
