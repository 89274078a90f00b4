"""A secret in the environment of the process."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from rdsproxy.credentials.errors import SecretError
from rdsproxy.interfaces import ISecretSource, SecretVersions


@implementer(ISecretSource)
class EnvironmentSecret:
    """The secret in the environment variable `variable`. It is what it was when the process began."""

    interval = 3600.0

    def __init__(self, variable: str) -> None:
        self.name = f"env:{variable}"
        self._variable = variable

    def text(self) -> str:
        """Give the variable's value. Raises SecretError."""
        text = os.environ.get(self._variable)
        if text is None:
            raise SecretError(self.name, "the environment variable is not set")
        return text

    def read(self, refused: bool) -> Deferred[SecretVersions]:
        """Give the variable's value."""
        return execute(lambda: SecretVersions(self.text()))
