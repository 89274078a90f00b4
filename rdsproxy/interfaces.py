"""Where the parts of the proxy meet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

ClientPlugin = Literal["mysql_native_password", "caching_sha2_password", "mysql_clear_password"]
"""The last one shows what it has: it is for users who have an IAM token and no password."""


@dataclass(frozen=True)
class Credential:
    """A database user's name and password, the same toward clients and toward the database."""

    username: str
    password: str = field(repr=False)
    client_plugin: ClientPlugin = "caching_sha2_password"
    """The authentication plugin that clients of this user are asked to use."""
    subject: str | None = None
    """Of the certificate that clients of this user must have besides, in the form of RFC 4514; empty: whatever its
    subject; None: they need not have one."""

    def admits(self, subject: str | None) -> bool:
        """Tell whether a client with a certificate of this subject, or with none, may prove that it is this user."""
        return self.subject is None or (subject is not None and self.subject in ("", subject))


class ICredentialProvider(Interface):
    """The database users that the proxy knows, now: they may change from one call to the next."""

    default_plugin = Attribute("A ``ClientPlugin``: by which clients are asked whose user is not known (yet).")

    complete = Attribute("False as long as a user who is not known may turn out to be one: a secret could not be read.")

    def usernames() -> list[str]:
        """Give the names of all users, in the order of ``[[proxy.auth]]``. Answers from memory."""

    def accepted(username: str) -> tuple[Credential, ...]:  # noqa: N805
        """Give what a client of this name may prove: none, one, or the current credential and the one before.

        Answers from memory, so that no login waits for a secret store.
        """

    def look_again() -> Deferred[None]:
        """A client was denied: see whether its password is newer than what is known.

        Fires within seconds, never fails.
        """

    def for_database(username: str, *, refused: Sequence[Credential] = ()) -> Deferred[Sequence[Credential]]:  # noqa: N805
        """Give what to log in with at a database, the likeliest first; nothing if there is no such user.

        `refused` is what was given before, if the database has just refused the first of it: unless something else is
        known by now, the store is asked. Fires within seconds, never fails.
        """


@dataclass(frozen=True)
class SecretVersions:
    """One secret as its store has it: each version the text of a JSON object with ``username`` and ``password``."""

    current: str | bytes = field(repr=False)
    previous: str | bytes | None = field(default=None, repr=False)
    """What was current before; None if that is not known there."""
    pending: str | bytes | None = field(default=None, repr=False)
    """What will be current next: a rotation that is under way may have set it in the database already."""
    age: float = 0.0
    """Seconds since `current` was made; 0 if that is not known."""


class UsedSecret(NamedTuple):
    """A secret, and how clients log in as its user: as in ``Credential``."""

    source: "ISecretSource"
    plugin: ClientPlugin
    subject: str | None = None


class ISecretSource(Interface):
    """Where one secret is kept. Caching, refreshing and waiting after failures is done for it."""

    name = Attribute("Which secret it is, for the log; nothing of what is in it.")

    interval = Attribute("Seconds between two reads.")

    def read(refused: bool) -> Deferred[SecretVersions]:  # noqa: N805
        """Read it. Not called again before the Deferred has fired; never blocks the reactor.

        `refused`: the database has refused what was read before, so `pending` is wanted too, if there is such a thing.

        Fails with ``credentials.SecretError`` if there is nothing that can be used, ``SecretUnavailableError`` if that
        is not known because the store does not answer.
        """


class ITokenVerifier(Interface):
    """What tells whether an IAM token lets a client in."""

    def verify(password: bytes, user: str, address: str) -> Deferred[str]:  # noqa: N805
        """Fires if `password` is a token with which `user` may log in now, from `address`.

        It fires with the token's signature, which is the same however else the token is written. Cancellable; never
        blocks the reactor. Fails within seconds: with ``iam.errors.TokenError`` if the token proves nothing,
        ``TokenUndecidedError`` if that cannot be told at the moment.
        """
