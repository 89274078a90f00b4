"""The configuration: names as in the RDS API, in snake_case. All durations are seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from rdsproxy.interfaces import ClientPlugin

from .values import (
    FilePath,
    Host,
    Listen,
    Name,
    Percent,
    Port,
    Seconds,
    Secret,
    at_least_one,
    known_filters,
    not_yet,
    refused,
    secret_path,
)

TLSMode = Literal["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]


class Settings(BaseModel):
    """A section: no unknown keys, no conversion of types, no change after it was made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class ProxyTLSSettings(Settings):
    """What clients see when they ask for TLS. Without this section the proxy offers none."""

    certificate: FilePath
    """PEM file: the certificate, then the intermediate ones. A relative path starts at the configuration file."""
    private_key: FilePath
    """PEM file: the private key of the certificate, without a passphrase."""


class EndpointSettings(Settings):
    """A place where clients connect."""

    name: Name = "default"
    """Used in logs; unique."""
    listen: Annotated[tuple[Listen, ...], *at_least_one]
    """Twisted server endpoint strings: `tcp:PORT[:interface=ADDRESS]`, `unix:/ABSOLUTE/PATH[:mode=660]`,
    `systemd:...`, or one of these after `haproxy:`."""
    target_role: Annotated[Literal["READ_WRITE"], not_yet("endpoints for readers", "READ_ONLY")] = "READ_WRITE"
    """Which target answers: the writer."""


class AuthSettings(Settings):
    """A database user that may log in through the proxy."""

    secret: Secret
    """`file:` and the path of a JSON file with `username` and `password`. A relative path starts at the
    configuration file."""
    iam_auth: Annotated[Literal["DISABLED"], not_yet("IAM authentication", "REQUIRED")] = "DISABLED"
    """Whether clients log in by an IAM token."""
    client_password_auth_type: Literal["MYSQL_CACHING_SHA2_PASSWORD", "MYSQL_NATIVE_PASSWORD"] = (
        "MYSQL_CACHING_SHA2_PASSWORD"  # noqa: S105 - a plugin's name
    )
    """How clients prove their password to the proxy."""

    @property
    def secret_file(self) -> Path:
        """Where the secret is."""
        return secret_path(self.secret)

    @property
    def client_plugin(self) -> ClientPlugin:
        """``client_password_auth_type`` as the MySQL protocol names it."""
        if self.client_password_auth_type == "MYSQL_NATIVE_PASSWORD":  # noqa: S105 - a plugin's name
            return "mysql_native_password"
        return "caching_sha2_password"


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
    """Clients beyond this number get error 1040."""
    debug_logging: bool = False
    """Log more: what is decided for each session. Never SQL text, never secrets."""
    init_query: Annotated[str, Field(repr=False)] = ""
    """SQL run on each new database connection; several statements may be separated by `;`."""
    endpoints: Annotated[tuple[EndpointSettings, ...], *at_least_one]
    auth: Annotated[tuple[AuthSettings, ...], Field(max_length=200), *at_least_one]

    @field_validator("require_tls")
    @classmethod
    def _tls_is_there(cls, require_tls: bool, info: ValidationInfo) -> bool:
        if require_tls and info.data.get("tls", False) is None:
            raise refused("needs [proxy.tls], or no client could connect")
        return require_tls

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        names = [endpoint.name for endpoint in endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise refused(f"two endpoints have the name {twice[0]!r}")
        return endpoints


class TargetTLSSettings(Settings):
    """TLS toward the database."""

    mode: TLSMode = "PREFERRED"
    """PREFERRED uses TLS if the database offers it; REQUIRED insists, but verifies nothing; VERIFY_CA verifies the
    certificate's chain; VERIFY_IDENTITY also that the certificate is for the target's `host`."""
    ca: FilePath | None = None
    """PEM file of the authorities that VERIFY_CA and VERIFY_IDENTITY trust; default: those of the system. A relative
    path starts at the configuration file."""

    @field_validator("ca")
    @classmethod
    def _has_a_use(cls, ca: Path | None, info: ValidationInfo) -> Path | None:
        mode = info.data.get("mode", "VERIFY_CA")
        if ca is not None and not mode.startswith("VERIFY_"):
            raise refused(f"has no effect in mode {mode}; it needs VERIFY_CA or VERIFY_IDENTITY")
        return ca


class TargetSettings(Settings):
    """A database server."""

    host: Host
    """Its name or address."""
    port: Port = 3306
    """Its TCP port."""


class TopologySettings(Settings):
    """How the proxy knows which target is the writer."""

    kind: Annotated[
        Literal["static"], not_yet("other topologies than static", "dns", "replication", "aurora", "aws")
    ] = "static"
    """`static`: the one target is the writer."""


class TargetGroupSettings(Settings):
    """The database and the connections to it."""

    max_connections_percent: Annotated[int, Field(ge=1, le=100)] = 100
    """Share of the target's `max_connections` that the proxy may use, in percent."""
    max_connections: Annotated[int, Field(ge=1)] | None = None
    """Absolute cap on connections per target; the smaller of this and the share holds."""
    max_idle_connections_percent: Percent = Field(
        default_factory=lambda data: data["max_connections_percent"] // 2,
    )
    """Share of the target's `max_connections` that may stay open unused, in percent; at most, and by default half
    of, `max_connections_percent`."""
    connection_borrow_timeout: Annotated[Seconds, Field(ge=0, le=300)] = 120
    """Seconds that a statement waits for a database connection before error 9501; 0: an error at once unless one
    is free."""
    max_prepared_statements: Annotated[int, Field(ge=1)] = 100
    """Prepared statements that each database connection keeps for its sessions, those unused for longest make room;
    fewer where the target's `max_prepared_stmt_count` does not allow as many on all connections."""
    session_pinning_filters: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(known_filters)] = ()
    """`EXCLUDE_VARIABLE_SETS`: a SET that the database does not report does not pin. What it has set stays on the
    database connection, for whoever uses it next."""
    tls: TargetTLSSettings = TargetTLSSettings()
    targets: Annotated[tuple[TargetSettings, ...], *at_least_one]
    topology: TopologySettings = TopologySettings()

    @field_validator("max_idle_connections_percent")
    @classmethod
    def _within_the_share(cls, idle: int, info: ValidationInfo) -> int:
        share = info.data.get("max_connections_percent", 100)
        if idle > share:
            raise refused(f"must be at most max_connections_percent, {share}, not {idle}")
        return idle

    @field_validator("targets")
    @classmethod
    def _one_writer(cls, targets: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
        if len(targets) > 1:
            raise refused(f"one target in this version, not {len(targets)}")
        return targets


class Config(Settings):
    """A whole configuration, as one file holds it.

    ``load`` and ``quick`` make one from a file or the command line; in Python its constructor, or ``model_validate``
    with a dict, do the same and raise pydantic's ``ValidationError``. Relative paths then start at the working
    directory, unless the validation context has a ``folder``.
    """

    proxy: ProxySettings
    target_group: TargetGroupSettings

    @classmethod
    def quick(cls, *, target: str, listen: Sequence[str], secret: str) -> "Config":
        """Make the configuration for one database, one user and otherwise default values.

        *target* is ``HOST:PORT``, *listen* Twisted endpoint strings, *secret* ``file:PATH``; relative paths start at
        the working directory. Raises ``ConfigError``, whose lines name the command line's options.
        """
        from .load import quick

        return quick(target=target, listen=listen, secret=secret)
