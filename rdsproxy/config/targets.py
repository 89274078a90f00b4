"""The section on the database and the connections to it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from .auth import AuthSettings
from .settings import Settings, TargetRole
from .values import (
    DNSServer,
    FilePath,
    Host,
    HostPattern,
    Name,
    Percent,
    Port,
    Seconds,
    Secret,
    SecretARN,
    is_address,
    known_filters,
    refused,
)

TLSMode = Literal["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]


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
    """A database server. The topology `aws` has none here, others at least one."""

    host: Host
    """Its name or address."""
    port: Port = 3306
    """Its TCP port."""
    role: TargetRole | None = None
    """With the topology `static`: what it is for. By default the first target is the writer, the others are readers."""


class TopologySettings(Settings):
    """How the proxy knows which target is the writer."""

    kind: Literal["static", "replication", "dns", "aurora", "aws"] = "static"
    """`static`: the roles are those of `targets`. `replication`: each target is asked for its role, and the one that
    takes writes is the writer. `dns`: the one target's `host` is a name whose address moves to the new writer.
    `aurora`: the one target's `host` leads to an Aurora cluster, whose servers list each other. `aws`: the RDS API says
    where the servers are, and there are no `targets` here; it needs `pip install rdsproxy[aws]`."""
    check_interval: Annotated[Seconds, Field(ge=0.1, le=60)] = 1
    """Seconds between two looks at each target; 0.1 while there is no writer."""
    check_timeout: Annotated[Seconds, Field(ge=0.1, le=60)] = 1
    """Seconds in which a target has to answer."""
    monitor_secret: Secret | None = None
    """The secret of the user that looks at the targets, `file:` or `env:` as in `[[proxy.auth]]`; default: the users
    there, the first that is let in."""
    monitor_secret_arn: SecretARN | None = None
    """Or its ARN in Secrets Manager."""
    max_replica_lag: Annotated[Seconds, Field(ge=0)] | None = None
    """Seconds that a reader may be behind; beyond, it gets no clients. The monitor's user then needs the privilege to
    see the state of the replication (MySQL: REPLICATION CLIENT; MariaDB: REPLICA MONITOR)."""
    writer_serves_readers: bool = False
    """While there is no reader the writer serves the endpoints for readers."""
    dns_servers: Annotated[tuple[DNSServer, ...], Field(strict=False)] = ()
    """With `dns` and `aws`: ask these, `ADDRESS[:PORT]`, rather than the system's resolver."""
    host_pattern: Annotated[HostPattern | None, Field(validate_default=True)] = None
    """With `aurora`: the hosts of the servers, `{server_id}.abc123.eu-west-1.rds.amazonaws.com`. They listen on the
    target's port."""
    cluster: Name | None = None
    """With `aws`: the identifier of the DB cluster, of Aurora or Multi-AZ."""
    instance: Name | None = None
    """With `aws`: or that of the DB instance."""
    region: Name | None = None
    """With `aws`: the region; default: as AWS's tools find it. So are credentials, which need the permissions
    `rds:DescribeDBClusters` and `rds:DescribeDBInstances`."""

    @field_validator("host_pattern")
    @classmethod
    def _is_for_aurora(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if kind == "aurora" and pattern is None:
            raise refused("is required by kind 'aurora'")
        if kind not in ("aurora", None) and pattern is not None:
            raise refused("has no effect without kind 'aurora'")
        return pattern

    @field_validator("cluster", "instance", "region")
    @classmethod
    def _is_for_aws(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("kind", "aws") != "aws":
            raise refused("has no effect without kind 'aws'")
        return value

    @property
    def monitor(self) -> AuthSettings | None:
        """The user that looks at the targets, if it is not one of ``[[proxy.auth]]``."""
        if self.monitor_secret is None and self.monitor_secret_arn is None:
            return None
        return AuthSettings(secret=self.monitor_secret, secret_arn=self.monitor_secret_arn)

    @field_validator("monitor_secret_arn")
    @classmethod
    def _monitor_has_one_secret(cls, arn: str | None, info: ValidationInfo) -> str | None:
        if arn is not None and info.data.get("monitor_secret") is not None:
            raise refused("cannot stand beside monitor_secret")
        return arn

    @model_validator(mode="after")
    def _says_what_to_look_for(self) -> "TopologySettings":
        if self.kind == "aws" and (self.cluster is None) == (self.instance is None):
            raise refused("kind 'aws' needs either cluster or instance")
        if self.dns_servers and self.kind not in ("dns", "aws"):
            raise refused("dns_servers has no effect without kind 'dns' or 'aws'")
        return self


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
    """`EXCLUDE_VARIABLE_SETS`: no SET of a variable pins. What cannot be written back on another connection is gone
    when the session's connection is given back: after the statement, or the transaction."""
    tls: TargetTLSSettings = TargetTLSSettings()
    topology: TopologySettings = TopologySettings()
    targets: Annotated[tuple[TargetSettings, ...], Field(strict=False, validate_default=True)] = ()

    @property
    def some_host(self) -> str:
        """The first target's host, or a name such as targets that are not known yet will have."""
        return self.targets[0].host if self.targets else "database.rds.amazonaws.com"

    @property
    def static_targets(self) -> list[tuple[TargetSettings, TargetRole]]:
        """The targets and their roles, as the topology `static` has them."""
        first: TargetRole = "READ_ONLY" if any(target.role == "READ_WRITE" for target in self.targets) else "READ_WRITE"
        return [
            (target, target.role or (first if number == 0 else "READ_ONLY"))
            for number, target in enumerate(self.targets)
        ]

    @field_validator("max_idle_connections_percent")
    @classmethod
    def _within_the_share(cls, idle: int, info: ValidationInfo) -> int:
        share = info.data.get("max_connections_percent", 100)
        if idle > share:
            raise refused(f"must be at most max_connections_percent, {share}, not {idle}")
        return idle

    @field_validator("targets")
    @classmethod
    def _targets_fit(cls, targets: tuple[TargetSettings, ...], info: ValidationInfo) -> tuple[TargetSettings, ...]:
        places = [(target.host, target.port) for target in targets]
        twice = next((place for place in places if places.count(place) > 1), None)
        if twice is not None:
            raise refused(f"{twice[0]}:{twice[1]} is there twice")
        if [target.role for target in targets].count("READ_WRITE") > 1:
            raise refused("only one target may have the role READ_WRITE")
        kind = info.data["topology"].kind if "topology" in info.data else None
        if kind == "aws" and targets:
            raise refused("kind 'aws' finds out the targets itself: leave them out")
        if not targets and kind not in ("aws", None):
            raise refused("needs at least one")
        if kind not in ("static", None) and any(target.role is not None for target in targets):
            raise refused(f"kind {kind!r} finds out the roles itself: leave them out")
        if kind == "dns" and (len(targets) > 1 or is_address(targets[0].host)):
            raise refused("kind 'dns' takes one target, whose host is a name")
        if kind == "aurora" and len(targets) > 1:
            raise refused("kind 'aurora' takes one target, the cluster's endpoint")
        return targets
