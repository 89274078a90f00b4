"""The users that may log in, as the door needs them."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, fail

from rdsproxy.iam.errors import TokenError
from rdsproxy.interfaces import Credential, ICredentialProvider, ITokenVerifier
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, CLEAR
from rdsproxy.protocol.authentication.verifier import Verifier

_NOTHING: Final[tuple[tuple[Credential, ...], Verifier | None]] = ((), None)


class Accounts:
    """Finds users, and keeps the hashes of their passwords so that a login does not compute them.

    `tokens` verifies the IAM tokens of users who log in by these.
    """

    def __init__(self, credentials: ICredentialProvider, tokens: ITokenVerifier | None = None) -> None:
        self.credentials = credentials
        self._tokens = tokens
        self._verifiers: dict[bytes, tuple[tuple[Credential, ...], Verifier]] = {}
        self._somebody = ""
        """A user who was found."""
        # Where all users have tokens, one who is not known is asked for a token too.
        self._unknown_take_token = credentials.default_plugin == CLEAR
        # No greeting asks for a token: a client might show one before there is TLS.
        self.default_plugin: str = CACHING_SHA2 if self._unknown_take_token else credentials.default_plugin
        """What the greeting offers; a user with another plugin is asked to switch."""
        self.decoy = Verifier.decoy(self.default_plugin)
        """Unknown users are measured against it."""

    def takes_token(self, user: bytes) -> bool:
        """Tell whether a client of this name is to show an IAM token."""
        accepted = self._accepted(user)
        return accepted[0].client_plugin == CLEAR if accepted else self._unknown_take_token

    def certificate_problem(self, user: bytes, subject: str | None) -> str | None:
        """Give what is wrong with a client's certificate, for the log alone; None if `user` may log in by it.

        `subject`: its own, or None if the client has shown none.
        """
        accepted = self._accepted(user)
        if not accepted or accepted[0].admits(subject):
            return None
        return "no client certificate" if subject is None else f"the client's certificate is for {subject!r}"

    def prove(self, user: bytes, token: bytes, address: str, subject: str | None = None) -> Deferred[None]:
        """Fires if `token`, shown from `address`, lets `user` in. `subject`: as for `find`. Cancellable.

        Fails with TokenError, or TokenUndecidedError.
        """
        if self._tokens is None:
            return fail(TokenError("tokens cannot be verified without [proxy.iam]"))
        try:
            name = user.decode()
        except UnicodeDecodeError:
            return fail(TokenError("it is shown for a user whose name is not UTF-8"))

        def proven(_: str) -> None:
            # Only now: how long it takes does not tell who is a user.
            if not self._accepted(user):
                raise TokenError("it proves who this is, but that is not a user here")
            problem = self.certificate_problem(user, subject)
            if problem is not None:
                raise TokenError(problem)

        return self._tokens.verify(token, name, address).addCallback(proven)

    def _accepted(self, user: bytes) -> tuple[Credential, ...]:
        try:
            name = user.decode()
        except UnicodeDecodeError:
            return ()
        accepted = self.credentials.accepted(name)
        if accepted:
            self._somebody = name
        else:
            # In vain, so that it takes as long: some microseconds, but thousands of tries would tell.
            self.credentials.accepted(self._somebody)
        return accepted

    def find(self, user: bytes, subject: str | None = None) -> Verifier | None:
        """Give what verifies the user's password, or None if there is no such user, or none with a password.

        Nor one for a client with a certificate of this `subject`, or (None) without any: as for a user who does not
        exist, nothing then tells whether the password is right.
        """
        accepted = self._accepted(user)
        of, verifier = self._verifiers.get(user, _NOTHING)
        if not accepted or accepted[0].client_plugin == CLEAR:
            self._verifiers.pop(user, None)
            return None
        if not accepted[0].admits(subject):
            return None
        if verifier is None or of != accepted:
            current, *before = accepted
            verifier = Verifier(
                current.password, current.client_plugin, previous=before[0].password if before else None
            )
            self._verifiers[user] = accepted, verifier
        return verifier
