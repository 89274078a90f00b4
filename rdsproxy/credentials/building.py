"""From a configuration to the credentials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdsproxy.config import AuthSettings, Config
from rdsproxy.credentials.cached import SecretPolicy
from rdsproxy.credentials.environment import EnvironmentSecret
from rdsproxy.credentials.errors import SecretError
from rdsproxy.credentials.file import FileSecret
from rdsproxy.credentials.parsing import parse
from rdsproxy.credentials.secrets_manager import SecretsManager
from rdsproxy.credentials.store import CredentialStore
from rdsproxy.errors import StartError
from rdsproxy.interfaces import Credential, ICredentialProvider, ISecretSource, UsedSecret


class Secrets:
    """The secrets of a configuration, and the threads that some are read in. `own` replaces ``[[proxy.auth]]``."""

    def __init__(self, config: Config, own: ICredentialProvider | None, reactor: Any) -> None:
        self._settings = config.proxy.secrets
        self._reactor = reactor
        self._manager = SecretsManager(reactor)
        self._stores: list[CredentialStore] = []
        self._named: list[Sequence[AuthSettings]] = []
        self.users: ICredentialProvider = own if own is not None else self._store(config.proxy.auth)
        """Who may log in."""
        monitor = config.target_group.topology.monitor
        self.monitors: ICredentialProvider = self._store([monitor]) if monitor is not None else self.users
        """Who looks at the targets."""

    def _store(self, auth: Sequence[AuthSettings]) -> CredentialStore:
        self._named.append(auth)
        settings = self._settings
        policy = SecretPolicy(settings.max_age, settings.previous_grace)
        sources = [UsedSecret(self.source(entry), entry.client_plugin, entry.subject) for entry in auth]
        self._stores.append(CredentialStore(sources, policy, self._reactor))
        return self._stores[-1]

    def source(self, entry: AuthSettings) -> ISecretSource:
        """Make what reads the secret of `entry`; to be used while this runs."""
        if entry.secret_arn is not None:
            return self._manager.secret(entry.secret_arn, self._settings.refresh_interval)
        assert entry.secret is not None
        return local_source(entry.secret)

    def start(self) -> None:
        """Begin to read. Raises StartError if none can be used, and none is elsewhere: so much is a wrong path."""
        for auth in self._named:
            read = read_local(auth)
            if len(read) == len(auth) and all(isinstance(one, SecretError) for one in read):
                raise StartError("\n".join(map(str, read)))
        self._manager.start()
        for store in self._stores:
            store.start()

    def stop(self) -> None:
        """Read no more."""
        for store in self._stores:
            store.stop()
        self._manager.stop()


def local_source(secret: str) -> FileSecret | EnvironmentSecret:
    """Make the source that a checked ``secret`` names."""
    scheme, _, where = secret.partition(":")
    return FileSecret(Path(where)) if scheme == "file" else EnvironmentSecret(where)


def read_local(auth: Sequence[AuthSettings]) -> list[Credential | SecretError]:
    """Read the secrets of `auth` that are on this machine, once; give for each its credential or what is wrong."""
    read: list[Credential | SecretError] = []
    names: dict[str, str] = {}
    for entry in auth:
        if entry.secret is None:
            continue
        source = local_source(entry.secret)
        try:
            credential = parse(source.name, source.text(), entry.client_plugin, entry.subject)
        except SecretError as error:
            read.append(error)
            continue
        first = names.setdefault(credential.username, source.name)
        if first != source.name:
            read.append(SecretError(source.name, f"has the same username as {first}"))
        else:
            read.append(credential)
    return read
