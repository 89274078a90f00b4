"""Secrets in AWS Secrets Manager.

Source: "GetSecretValue" in the Secrets Manager API reference, and "Rotation by Lambda function" in its user guide: a
rotation puts the new version under AWSPENDING, sets it in the database, and only then calls it AWSCURRENT.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from rdsproxy.aws import is_of_the_environment, make_client, reason_of
from rdsproxy.credentials.errors import SecretError, SecretUnavailableError
from rdsproxy.interfaces import ISecretSource, SecretVersions
from rdsproxy.threads import Threads

_THREADS: Final = 4
"""Questions at a time: 200 secrets are read within seconds, and one that hangs does not hold up the others."""

_NO_SECRET: Final = frozenset(("ResourceNotFoundException", "InvalidRequestException"))
"""It does not exist, or is about to be deleted."""
_NO_VERSION: Final = _NO_SECRET | {"AccessDeniedException"}
"""A policy may allow AWSCURRENT alone."""


class SecretsManager:
    """The API, in threads. One for all secrets of a proxy."""

    def __init__(self, reactor: Any) -> None:
        self._threads = Threads("secrets", _THREADS, reactor)
        self._lock = Lock()
        self._clients: dict[str, Any] = {}

    def start(self) -> None:
        """Be ready."""
        self._threads.start()

    def stop(self) -> None:
        """Ask no more."""
        self._threads.stop()

    def secret(self, arn: str, interval: float) -> ManagedSecret:
        """Give the secret `arn`, to be read every `interval` seconds."""
        return ManagedSecret(arn, interval, self, self._threads)

    def client(self, region: str) -> Any:
        """Give the client for a region. Raises botocore's BotoCoreError."""
        with self._lock:
            client = self._clients.get(region)
            if client is None:
                client = self._clients[region] = make_client("secretsmanager", region)
            return client

    def forget_clients(self) -> None:
        """Look for AWS credentials anew with the next question."""
        with self._lock:
            self._clients.clear()


@implementer(ISecretSource)
class ManagedSecret:
    """One secret. Its region is that of its ARN."""

    def __init__(self, arn: str, interval: float, manager: SecretsManager, threads: Threads) -> None:
        self.name = arn
        self.interval = interval
        self._region = arn.split(":")[3]
        self._manager = manager
        self._threads = threads
        self._current_id = ""
        self._previous: str | None = None

    def read(self, refused: bool) -> Deferred[SecretVersions]:
        """Ask in a thread: for the current version; for the previous one, if that may be another; for a pending one."""
        return self._threads.run(lambda: self._read(refused))

    def _read(self, refused: bool) -> SecretVersions:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._manager.client(self._region)
            current = client.get_secret_value(SecretId=self.name, VersionStage="AWSCURRENT")
            if current["VersionId"] != self._current_id:
                self._previous = self._other(client, "AWSPREVIOUS")
                self._current_id = current["VersionId"]
            pending = self._other(client, "AWSPENDING") if refused else None
        except ClientError as error:
            kind = SecretError if _code(error) in _NO_SECRET else SecretUnavailableError
            raise kind(self.name, reason_of(error)) from None
        except BotoCoreError as error:
            if is_of_the_environment(error):
                self._manager.forget_clients()
            raise SecretUnavailableError(self.name, reason_of(error)) from None
        if "SecretString" not in current:
            raise SecretError(self.name, "is binary; must be the text of a JSON object with username and password")
        age = max(0.0, time.time() - current["CreatedDate"].timestamp())
        return SecretVersions(current["SecretString"], self._previous, pending, age)

    def _other(self, client: Any, stage: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            text: str | None = client.get_secret_value(SecretId=self.name, VersionStage=stage).get("SecretString")
        except ClientError as error:
            if _code(error) in _NO_VERSION:
                return None
            raise
        return text


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
