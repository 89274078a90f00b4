"""The configuration: names as in the RDS API, in snake_case. All durations are seconds."""

from collections.abc import Sequence

from pydantic import model_validator

from .proxy import ProxySettings
from .settings import Settings
from .targets import TargetGroupSettings
from .values import (
    Listen,
    refused,
)


class AdminSettings(Settings):
    """For operators: `GET /metrics` and `GET /health` over HTTP. Without this section there is neither."""

    listen: Listen
    """A Twisted server endpoint string: `tcp:8404:interface=127.0.0.1`, `unix:/ABSOLUTE/PATH[:mode=660]`,
    `ssl:8404:privateKey=PATH:certKey=PATH`, whose paths start at the working directory. Whoever can connect is not
    asked for a password."""


class Config(Settings):
    """A whole configuration, as one file holds it.

    ``load`` and ``quick`` make one from a file or the command line; in Python its constructor, or ``model_validate``
    with a dict, do the same and raise pydantic's ``ValidationError``. Relative paths then start at the working
    directory, unless the validation context has a ``folder``.
    """

    proxy: ProxySettings
    target_group: TargetGroupSettings
    admin: AdminSettings | None = None

    @model_validator(mode="after")
    def _tokens_go_to_the_database_alone(self) -> "Config":
        if self.proxy.default_auth_scheme == "IAM_AUTH" and self.target_group.tls.mode != "VERIFY_IDENTITY":
            # AWS's authorities have signed for everyone's databases, so VERIFY_CA would not do.
            raise refused("proxy.default_auth_scheme: IAM_AUTH needs target_group.tls.mode VERIFY_IDENTITY")
        iam = self.proxy.iam
        if iam is not None and iam.verify == "database" and self.target_group.tls.mode != "VERIFY_IDENTITY":
            raise refused("proxy.iam.verify: 'database' needs target_group.tls.mode VERIFY_IDENTITY")
        return self

    @model_validator(mode="after")
    def _each_endpoint_has_targets(self) -> "Config":
        group = self.target_group
        if group.topology.kind != "static":
            return self
        roles = {role for _, role in group.static_targets}
        for number, endpoint in enumerate(self.proxy.endpoints):
            wants = endpoint.target_role
            if wants not in roles and not (wants == "READ_ONLY" and group.topology.writer_serves_readers):
                raise refused(f"proxy.endpoints[{number}].target_role: no target has the role {wants}")
        return self

    @classmethod
    def quick(cls, *, target: str, listen: Sequence[str], secret: str) -> "Config":
        """Make the configuration for one database, one user and otherwise default values.

        *target* is ``HOST:PORT``, *listen* Twisted endpoint strings, *secret* ``file:PATH``; relative paths start at
        the working directory. Raises ``ConfigError``, whose lines name the command line's options.
        """
        from .load import quick

        return quick(target=target, listen=listen, secret=secret)
