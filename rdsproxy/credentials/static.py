"""Users who are known beforehand and do not change: for tests, and for applications that embed the proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from rdsproxy.credentials.store import default_plugin
from rdsproxy.interfaces import ClientPlugin, Credential, ICredentialProvider


@implementer(ICredentialProvider)
class StaticCredentials:
    """These `credentials`, for good."""

    complete = True

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_username = {credential.username: credential for credential in credentials}
        plugins = [credential.client_plugin for credential in self._by_username.values()]
        self.default_plugin: ClientPlugin = default_plugin(plugins)

    def usernames(self) -> list[str]:
        """Give all names."""
        return list(self._by_username)

    def accepted(self, username: str) -> tuple[Credential, ...]:
        """Give the credential of this name, if there is one."""
        credential = self._by_username.get(username)
        return () if credential is None else (credential,)

    def look_again(self) -> Deferred[None]:
        """There is nothing to find."""
        return succeed(None)

    def for_database(
        self, username: str, *, refused: Sequence[Credential] = ()
    ) -> Deferred[Sequence[Credential]]:
        """Give the same as to clients."""
        return succeed(self.accepted(username))
