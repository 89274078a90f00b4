"""A secret that is a JSON file, read again when it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from rdsproxy.credentials.errors import SecretError
from rdsproxy.interfaces import ISecretSource, SecretVersions

INTERVAL: Final = 1.0
"""Seconds between two looks at a file, which cost one system call."""


@implementer(ISecretSource)
class FileSecret:
    """The secret in the file at `path`. It may be replaced at any time, best by renaming another one over it.

    Read on the reactor: it is small, and where it lies is as near as the program's own code.
    """

    interval = INTERVAL

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._versions: SecretVersions | None = None

    def text(self) -> bytes:
        """Read the file. Raises SecretError."""
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise SecretError(self.name, error.strerror or type(error).__name__) from None

    def read(self, refused: bool) -> Deferred[SecretVersions]:
        """Give what the file holds now."""
        return execute(self._read)

    def _read(self) -> SecretVersions:
        try:
            seen = _identity(self._path.stat())
        except OSError as error:
            raise SecretError(self.name, error.strerror or type(error).__name__) from None
        if self._versions is None or seen != self._seen:
            self._versions = SecretVersions(self.text())
            # Of before the text was read: one that has changed since is read once more.
            self._seen = seen
        return self._versions


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
