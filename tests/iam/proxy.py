"""A proxy whose users log in by tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mysql.connector

from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET
from tests.integration.logins import Login
from tests.integration.proxy import NATIVE, Account, Proxy, settings_of
from tests.servers import Certificates, DatabaseServer


class IAMProxy(Proxy):
    """`accounts` log in by password, `iam` by tokens that `tests.iam.tokens` signs.

    `verify` is ``[proxy.iam]``, in place of the keys with which these are signed; `principals` has its rules. `reuse`
    is the setting of that name.
    """

    def __init__(
        self,
        server: DatabaseServer,
        folder: Path,
        iam: Sequence[Account],
        *,
        accounts: Sequence[Account] = (),
        verify: Mapping[str, object] | None = None,
        principals: Mapping[str, Sequence[str]] | None = None,
        reuse: str = "ALLOWED",
        **more: Any,
    ) -> None:
        super().__init__(server, folder, accounts=accounts, **more)
        self.secrets |= {SECRET, "X-Amz-Signature=", "Action=", "Planted-"}
        self.secrets |= {account.password for account in iam}
        self._iam = iam
        self._verify = verify
        self._principals = principals or {}
        self._reuse = reuse

    def _config(self) -> str:
        settings = {**(self._verify or self._keys()), "reuse": self._reuse}
        parts = [super()._config(), "[proxy.iam]", *settings_of(settings)]
        for arn, users in self._principals.items():
            parts += ["[[proxy.iam.principals]]", *settings_of({"arn": arn, "users": users})]
        for number, account in enumerate(self._iam):
            secret = self._folder / f"iam-{number}.json"
            secret.write_text(json.dumps({"username": account.name, "password": account.password}))
            parts += ["[[proxy.auth]]", *settings_of({"secret": f"file:{secret}", "iam_auth": "REQUIRED"})]
        return "\n".join(parts) + "\n"

    def _keys(self) -> dict[str, object]:
        keys = self._folder / "keys.json"
        users = [*(account.name for account in self._iam), "nobody"]
        keys.write_text(json.dumps({KEY_ID: {"secret_access_key": SECRET, "users": users}}))
        return {"verify": "keys", "keys": f"file:{keys}", "host": HOST, "region": REGION}


def asked_for_token(proxy: Proxy, certificates: Certificates) -> Login:
    """Log in as far as the question for a token."""
    client = Login(proxy.host, proxy.port)
    client.start_tls(certificates)
    assert client.respond(NATIVE.name, b"").startswith(b"\xfemysql_clear_password")
    return client


def by_connector(proxy: Proxy, user: str, password: str, certificates: Certificates, **more: Any) -> Any:
    """Connect with MySQL's own driver, in Python and over TLS."""
    login = {"host": proxy.host, "port": proxy.port, "user": user, "password": password}
    return mysql.connector.connect(**login, ssl_ca=str(certificates.ca), use_pure=True, **more)
