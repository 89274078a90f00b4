"""Where the parts of the proxy meet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from zope.interface import Interface

ClientPlugin = Literal["mysql_native_password", "caching_sha2_password"]


@dataclass(frozen=True)
class Credential:
    """A database user's name and password, the same toward clients and toward the database."""

    username: str
    password: str = field(repr=False)
    client_plugin: ClientPlugin = "caching_sha2_password"
    """The authentication plugin that clients of this user are asked to use."""


class ICredentialProvider(Interface):
    """The database users that the proxy knows.

    Both methods answer at once from what is held in memory, so the login path never waits for a secret store.
    """

    def lookup(username: str) -> Credential | None:  # noqa: N805
        """Give the credential of *username*, or ``None`` if there is no such user."""

    def __iter__() -> Iterator[Credential]:
        """Give every credential, in the order of ``[[proxy.auth]]``; never empty."""
