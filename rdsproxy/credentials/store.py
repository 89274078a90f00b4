"""All users' credentials, from their secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer

from rdsproxy.credentials.backoff import Doubts
from rdsproxy.credentials.cached import CachedSecret, SecretPolicy
from rdsproxy.interfaces import ClientPlugin, Credential, ICredentialProvider, ISecretSource, UsedSecret

_log = structlog.get_logger("rdsproxy.credentials")


@implementer(ICredentialProvider)
class CredentialStore:
    """Knows the users of all `sources`. Each of these fails by itself; `start` begins to read them, `stop` ends it."""

    def __init__(
        self,
        sources: Iterable[UsedSecret | tuple[ISecretSource, ClientPlugin]],
        policy: SecretPolicy,
        reactor: Any,
    ) -> None:
        self._secrets = [CachedSecret(UsedSecret(*one), policy, self._index, reactor) for one in sources]
        self.default_plugin: ClientPlugin = default_plugin(secret.plugin for secret in self._secrets)
        self._owners: dict[str, CachedSecret] = {}
        self._clashes: frozenset[tuple[str, str]] = frozenset()
        self._doubts = Doubts(self._look, reactor)

    def start(self) -> None:
        """Begin to read the secrets. What can be read without waiting is known when this returns."""
        for secret in self._secrets:
            secret.start()

    def stop(self) -> None:
        """Read no more."""
        for secret in self._secrets:
            secret.stop()

    @property
    def complete(self) -> bool:
        """Every secret is known, or known not to be usable."""
        return all(secret.answered and (secret.is_fresh or secret.current is None) for secret in self._secrets)

    def usernames(self) -> list[str]:
        """Give the users whose secrets are known, in the order of the sources; those of old versions come last."""
        return list(self._owners)

    def accepted(self, username: str) -> tuple[Credential, ...]:
        """Give what a client of this name may prove."""
        owner = self._owners.get(username)
        return () if owner is None else owner.accepted(username)

    def look_again(self) -> Deferred[None]:
        """Read all secrets, if that was not in vain lately.

        Not one alone, even if the name is known: how long a denial takes would tell which names are.
        """
        return self._doubts.raised()

    def for_database(
        self, username: str, *, refused: Sequence[Credential] = ()
    ) -> Deferred[Sequence[Credential]]:
        """Give what to log in with at a database."""
        known = self._candidates(username)
        owner = self._owners.get(username)
        if not refused or known != refused or owner is None:
            return succeed(known)
        return owner.refused().addCallback(lambda _: self._candidates(username))

    def _candidates(self, username: str) -> Sequence[Credential]:
        owner = self._owners.get(username)
        return () if owner is None else owner.candidates(username)

    def _look(self) -> Deferred[bool]:
        return gatherResults([secret.look() for secret in self._secrets]).addCallback(any)

    def _index(self) -> None:
        """Find whose each username is. The first secret that has it counts, current versions before previous ones."""
        owners: dict[str, CachedSecret] = {}
        clashes = set()
        for secret in self._secrets:
            if secret.current is not None:
                owner = owners.setdefault(secret.current.username, secret)
                if owner is not secret:
                    clashes.add((secret.name, owner.name))
        for name, owner_name in sorted(clashes - self._clashes):
            _log.error("secret cannot be used", secret=name, reason=f"it has the same username as {owner_name}")
        self._clashes = frozenset(clashes)
        for secret in self._secrets:
            if secret.previous is not None:
                owners.setdefault(secret.previous.username, secret)
        self._owners = owners


def default_plugin(plugins: Iterable[ClientPlugin]) -> ClientPlugin:
    """Give the plugin to greet clients with: users of another one are asked to switch. New clients lack the old one."""
    only = set(plugins)
    if only == {"mysql_clear_password"}:
        return "mysql_clear_password"
    return "mysql_native_password" if only == {"mysql_native_password"} else "caching_sha2_password"
