"""The users that may log in, as the door needs them."""

from __future__ import annotations

from rdsproxy.interfaces import Credential, ICredentialProvider
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, NATIVE
from rdsproxy.protocol.authentication.verifier import Verifier


class Accounts:
    """Finds users, and keeps the hashes of their passwords so that a login does not compute them."""

    def __init__(self, credentials: ICredentialProvider) -> None:
        self._credentials = credentials
        self._verifiers: dict[Credential, Verifier] = {}
        plugins = {credential.client_plugin for credential in credentials}
        self.default_plugin: str = CACHING_SHA2 if CACHING_SHA2 in plugins else NATIVE
        """What the greeting offers; a user with another plugin is asked to switch. New clients lack the old one."""
        self.decoy = Verifier.decoy(self.default_plugin)
        """Unknown users are measured against it."""

    def find(self, user: bytes) -> Verifier | None:
        """Give what verifies the user's password, or None if there is no such user."""
        try:
            credential = self._credentials.lookup(user.decode())
        except UnicodeDecodeError:
            return None
        if credential is None:
            return None
        verifier = self._verifiers.get(credential)
        if verifier is None:
            # At most one password per user is current: forget the ones before.
            self._verifiers = {
                known: kept for known, kept in self._verifiers.items() if known.username != credential.username
            }
            verifier = self._verifiers[credential] = Verifier(credential.password, credential.client_plugin)
        return verifier
