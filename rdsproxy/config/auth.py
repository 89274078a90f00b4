"""The sections on who may log in, and by what."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rdsproxy.interfaces import ClientPlugin

from .settings import Settings
from .values import (
    Host,
    Name,
    PrincipalARN,
    Seconds,
    Secret,
    SecretARN,
    Subject,
    at_least_one,
    refused,
)


class AuthSettings(Settings):
    """A database user that may log in through the proxy."""

    secret: Secret | None = None
    """`file:` and the path of a JSON file with `username` and `password`; a relative path starts at the configuration
    file. Or `env:` and the name of an environment variable that has the same."""
    secret_arn: SecretARN | None = None
    """Or the ARN of a secret in AWS Secrets Manager that has the same; needs `pip install rdsproxy[aws]`."""
    iam_auth: Literal["DISABLED", "REQUIRED"] = "DISABLED"
    """REQUIRED: clients log in by an IAM token, over TLS, and not by the password, which is the proxy's alone. Needs
    `[proxy.iam]` and `[proxy.tls]`."""
    client_password_auth_type: Literal["MYSQL_CACHING_SHA2_PASSWORD", "MYSQL_NATIVE_PASSWORD"] = (
        "MYSQL_CACHING_SHA2_PASSWORD"  # noqa: S105 - a plugin's name
    )
    """How clients prove their password to the proxy."""
    require_x509: bool = False
    """Clients of this user also need a certificate that an authority of `ssl_ca` in `[proxy.tls]` has signed."""
    require_subject: Subject | None = None
    """And for that one to have this subject, as RFC 4514 writes it, the most particular part first: `CN=app,O=Orders`;
    `openssl x509 -noout -subject -nameopt RFC2253 -in FILE` prints it."""

    @model_validator(mode="after")
    def _has_one_secret(self) -> "AuthSettings":
        if (self.secret is None) == (self.secret_arn is None):
            raise refused("needs either secret or secret_arn")
        return self

    @property
    def subject(self) -> str | None:
        """What certificate clients need, as `Credential.subject`."""
        return self.require_subject or ("" if self.require_x509 else None)

    @property
    def client_plugin(self) -> ClientPlugin:
        """How clients log in, as the MySQL protocol names it."""
        if self.iam_auth == "REQUIRED":
            return "mysql_clear_password"
        if self.client_password_auth_type == "MYSQL_NATIVE_PASSWORD":  # noqa: S105 - a plugin's name
            return "mysql_native_password"
        return "caching_sha2_password"


class SecretsSettings(Settings):
    """How secrets are kept up to date. [More on credentials](credentials.md)."""

    refresh_interval: Annotated[Seconds, Field(ge=1, le=86400)] = 60
    """Seconds between two reads of each secret in Secrets Manager. When the database or the proxy refuses a password,
    the secret is read at once. Files are looked at each second."""
    max_age: Annotated[Seconds, Field(ge=1)] = 86400
    """Seconds for which a secret is used that cannot be read again; beyond, its user is refused. More than
    `refresh_interval`."""
    previous_grace: Annotated[Seconds, Field(ge=0)] = 3600
    """Seconds after a rotation in which clients may still log in with the credentials before (AWSPREVIOUS)."""

    @field_validator("max_age")
    @classmethod
    def _outlives_an_interval(cls, max_age: float, info: ValidationInfo) -> float:
        interval = info.data.get("refresh_interval", 0)
        if max_age <= interval:
            raise refused(f"must be more than refresh_interval, {interval:g}, not {max_age:g}")
        return max_age


class PrincipalSettings(Settings):
    """Who may log in as whom by a token that STS answers."""

    arn: PrincipalARN
    """Of an IAM role or user: `arn:aws:iam::123456789012:role/orders`. All sessions of a role are meant."""
    users: Annotated[tuple[Name, ...], *at_least_one]
    """The database users that it may log in as."""


class IAMSettings(Settings):
    """How the IAM tokens of clients are verified. [More on IAM](iam.md)."""

    verify: Literal["keys", "sts", "database"]
    """`keys`: the proxy has the access keys itself and computes the signature. `sts`: AWS STS says who has signed.
    `database`: the database is shown each token once; needs `mode = "VERIFY_IDENTITY"` in `[target_group.tls]`."""
    host: Host | None = None
    """With `keys` and `sts`: the name that tokens are signed for, which is the proxy's, as clients call it. With
    `database`, if there is one: another name of the writer that tokens may be signed for, as a cluster's endpoint."""
    region: Name | None = None
    """With `keys` and `sts`: the region that tokens are signed for."""
    keys: Secret | None = None
    """With `keys`: `file:` or `env:`, as in `[[proxy.auth]]`, of a JSON object: for each access key id the
    `secret_access_key`, and `users`, the database users it may log in as. Read again as other secrets are."""
    keys_arn: SecretARN | None = None
    """Or the ARN of a secret in Secrets Manager that has the same."""
    principals: Annotated[tuple[PrincipalSettings, ...], Field(strict=False)] = ()
    """With `sts`."""
    reuse: Literal["ALLOWED", "SAME_ADDRESS", "REFUSED"] = "ALLOWED"
    """ALLOWED: a token is good until it expires, as with RDS. SAME_ADDRESS: for clients at the address that it was
    first good for. REFUSED: once; a pool of connections needs a new one for each."""

    @model_validator(mode="after")
    def _has_what_its_way_needs(self) -> "IAMSettings":
        needed = {"keys": ["host", "region"], "sts": ["host", "region", "principals"], "database": []}[self.verify]
        useful = {*needed, "host", *(("keys", "keys_arn") if self.verify == "keys" else ())}
        for key in needed:
            if not getattr(self, key):
                raise refused(f"verify {self.verify!r} needs {key}")
        for key in ("region", "keys", "keys_arn", "principals"):
            if key not in useful and getattr(self, key):
                raise refused(f"{key} has no effect with verify {self.verify!r}")
        if self.verify == "keys" and (self.keys is None) == (self.keys_arn is None):
            raise refused("verify 'keys' needs either keys or keys_arn")
        return self

    @property
    def key_secret(self) -> AuthSettings | None:
        """Where the access keys are, if they are what verifies."""
        return AuthSettings(secret=self.keys, secret_arn=self.keys_arn) if self.verify == "keys" else None
