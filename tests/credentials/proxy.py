"""A proxy whose users' secrets are in Secrets Manager."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.proxy import Account, Proxy, settings_of
from tests.servers import DatabaseServer

PASSWORDS = frozenset(("Managed-", "Other-", "Planted-", "Rotated-", "Wrong-"))
"""How all passwords of these tests begin, and nothing else that may stand in a log."""


class ManagedProxy(Proxy):
    """Has the users of the secrets `arns`, and those of `accounts`, whose secrets are files.

    `secrets` are settings of ``[proxy.secrets]``. `monitor` is the secret of who looks at it, instead of a file.
    With `native`, clients of the managed users log in by the older plugin.
    """

    def __init__(
        self,
        server: DatabaseServer,
        folder: Path,
        arns: Sequence[str],
        *,
        accounts: Sequence[Account] = (),
        secrets: Mapping[str, object] | None = None,
        monitor: str = "",
        native: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(server, folder, accounts=accounts, **more)
        self.secrets |= PASSWORDS
        self._arns = arns
        self._settings = secrets or {}
        self._monitor = monitor
        self._native = native

    def _config(self) -> str:
        config = super()._config()
        if self._monitor:
            config = re.sub(r"monitor_secret = .*", f'monitor_secret_arn = "{self._monitor}"', config)
        parts = [config, "[proxy.secrets]", *settings_of(self._settings)]
        for arn in self._arns:
            settings = {"secret_arn" if arn.startswith("arn:") else "secret": arn}
            if self._native:
                settings["client_password_auth_type"] = "MYSQL_NATIVE_PASSWORD"
            parts += ["[[proxy.auth]]", *settings_of(settings)]
        return "\n".join(parts) + "\n"
