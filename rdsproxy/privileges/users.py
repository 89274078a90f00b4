"""The users of a configuration, as far as they can be told without asking anyone for a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rdsproxy.config import AuthSettings, Config
from rdsproxy.credentials.building import read_local
from rdsproxy.credentials.errors import SecretError


class Named(NamedTuple):
    """A user of a secret."""

    secret: str
    """Where it is: a path, a variable or an ARN."""
    name: str | None
    """None: the secret is elsewhere, or cannot be read (yet)."""

    @property
    def name_or_placeholder(self) -> str:
        """Give the name, or what somebody has to replace by it."""
        return f"<username of {self.secret}>" if self.name is None else self.name


def users_of(config: Config) -> list[Named]:
    """Give those of ``[[proxy.auth]]``."""
    return _named(config.proxy.auth)


def monitor_of(config: Config) -> Named | None:
    """Give the one that looks at the targets, if it has a secret of its own."""
    monitor = config.target_group.topology.monitor
    return None if monitor is None else _named([monitor])[0]


def _named(auth: Sequence[AuthSettings]) -> list[Named]:
    named = []
    for entry in auth:
        # One by one: two with the same username are two secrets all the same.
        names = [read.username for read in read_local([entry]) if not isinstance(read, SecretError)]
        named.append(Named(str(entry.secret_arn or entry.secret).removeprefix("file:"), names[0] if names else None))
    return named
