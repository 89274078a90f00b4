"""The section on the side that clients see."""

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from .auth import AuthSettings, IAMSettings, SecretsSettings
from .settings import Settings, TargetRole
from .values import (
    CIDR,
    FilePath,
    Listen,
    Name,
    Seconds,
    at_least_one,
    refused,
)


class ProxyTLSSettings(Settings):
    """What clients see when they ask for TLS. Without this section the proxy offers none."""

    certificate: FilePath
    """PEM file: the certificate, then the intermediate ones. A relative path starts at the configuration file. It and
    the key are read again when they change, for clients that connect from then on."""
    private_key: FilePath
    """PEM file: the private key of the certificate, without a passphrase."""
    ssl_ca: FilePath | None = None
    """PEM file: the authorities whose certificates clients may show. Clients are then asked for one, and need none,
    unless their user does: `require_x509` in `[[proxy.auth]]`. Read again when it changes, as the other two."""


class EndpointSettings(Settings):
    """A place where clients connect."""

    name: Name = "default"
    """Used in logs; unique."""
    listen: Annotated[tuple[Listen, ...], *at_least_one]
    """Twisted server endpoint strings: `tcp:PORT[:interface=ADDRESS]`, `unix:/ABSOLUTE/PATH[:mode=660]`,
    `systemd:...`, or one of these after `haproxy:`."""
    target_role: TargetRole = "READ_WRITE"
    """Which targets answer: the writer, or (READ_ONLY) the readers."""
    allow_cidrs: Annotated[tuple[CIDR, ...], Field(strict=False, validate_default=True)] = ()
    """Networks that may connect, `10.0.0.0/16`; others are closed on without a byte. Without any, all may. Unix sockets
    are not meant. Behind `haproxy:` it is the balancer's own address that counts, and the list is required: who is in
    it is trusted to say where clients come from."""

    @field_validator("allow_cidrs")
    @classmethod
    def _balancers_are_known(cls, cidrs: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        balanced = any(map(_is_behind_any_balancer, info.data.get("listen", ())))
        if balanced and not cidrs:
            raise refused(
                "is required with haproxy: whoever may connect says where clients come from; list the balancers, "
                'or everyone: ["0.0.0.0/0", "::/0"]'
            )
        return cidrs


def _is_behind_any_balancer(description: str) -> bool:
    """Whoever reaches the port may be the balancer. A Unix socket's mode is who may."""
    return description.startswith("haproxy:") and not re.match(r"haproxy:(unix:|systemd:domain=UNIX)", description)


class ProxySettings(Settings):
    """The side that clients see."""

    name: Name = "rdsproxy"
    """Used in logs."""
    tls: ProxyTLSSettings | None = None
    require_tls: bool = False
    """Refuse clients that do not use TLS, with error 3159. Needs `[proxy.tls]`."""
    idle_client_timeout: Annotated[Seconds, Field(ge=1, le=28800)] = 1800
    """Seconds without a command after which a client is disconnected."""
    handshake_timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 10
    """Seconds that a client has to log in; waiting for a database connection does not count."""
    max_client_connections: Annotated[int, Field(ge=1)] = 10000
    """Clients beyond this number get error 1040. When it is reached, one that has not logged in yet gives way to each
    that comes, the oldest first."""
    max_connection_rate: Annotated[int, Field(ge=1)] | None = None
    """Connections in a minute from one address (of IPv6: one /64 network); beyond, they get error 1040 until the minute
    is over. Unix sockets are not meant. Behind a network translator, or a balancer without `haproxy:`, all clients are
    one address."""
    max_failed_logins: Annotated[int, Field(ge=1)] = 100
    """Failed logins in a minute, of one address (of IPv6: one /64 network) as one user; beyond, they get error 1040
    until the minute is over. Other addresses and other users are not affected. An address with ten times as many
    failures of any kind, and no login between them, gets error 1129; 127.0.0.1 and ::1 do not."""
    debug_logging: bool = False
    """Log more: what is decided for each session. Never SQL text, never secrets."""
    init_query: Annotated[str, Field(repr=False)] = ""
    """SQL run on each new database connection; several statements may be separated by `;`."""
    iam: IAMSettings | None = None
    default_auth_scheme: Literal["NONE", "IAM_AUTH"] = "NONE"
    """IAM_AUTH: the proxy logs in at the database by IAM tokens, a new one each time, whatever the passwords. Needs
    `mode = "VERIFY_IDENTITY"` in `[target_group.tls]`, and `pip install rdsproxy[aws]`."""
    secrets: SecretsSettings = SecretsSettings()
    endpoints: Annotated[tuple[EndpointSettings, ...], *at_least_one]
    auth: Annotated[tuple[AuthSettings, ...], Field(max_length=200), *at_least_one]

    @field_validator("require_tls")
    @classmethod
    def _tls_is_there(cls, require_tls: bool, info: ValidationInfo) -> bool:
        if require_tls and info.data.get("tls", False) is None:
            raise refused("needs [proxy.tls], or no client could connect")
        return require_tls

    @field_validator("auth")
    @classmethod
    def _tokens_can_be_verified(cls, auth: tuple[AuthSettings, ...], info: ValidationInfo) -> tuple[AuthSettings, ...]:
        needed = any(entry.iam_auth == "REQUIRED" for entry in auth)
        for section in ("iam", "tls"):
            if needed and info.data.get(section, False) is None:
                raise refused(f"iam_auth REQUIRED needs [proxy.{section}]")
        if not needed and info.data.get("iam") is not None:
            raise refused("[proxy.iam] has no effect without iam_auth REQUIRED")
        return auth

    @field_validator("auth")
    @classmethod
    def _certificates_can_be_verified(
        cls, auth: tuple[AuthSettings, ...], info: ValidationInfo
    ) -> tuple[AuthSettings, ...]:
        tls = info.data.get("tls", ...)
        if any(entry.subject is not None for entry in auth) and (tls is None or getattr(tls, "ssl_ca", ...) is None):
            raise refused("require_x509 and require_subject need ssl_ca in [proxy.tls]")
        return auth

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        names = [endpoint.name for endpoint in endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise refused(f"two endpoints have the name {twice[0]!r}")
        return endpoints
