"""AWS Secrets Manager, as moto's server plays it over HTTP, and the rotations that AWS's functions make."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.servers import DatabaseServer, free_port

REGION = "eu-west-1"


class SecretsManager:
    """The API at ``url``; nobody listens there outside of ``running``, and what it knows outlives that."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._client: Any = None
        self._server: ThreadedMotoServer | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer."""
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        try:
            self._client = boto3.session.Session().client("secretsmanager", region_name=REGION)
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Answer no more."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def create(self, name: str, value: object) -> str:
        """Make a secret of JSON, text or bytes; give its ARN."""
        arn: str = self._client.create_secret(Name=name, **_value(value))["ARN"]
        return arn

    def put(self, arn: str, value: object, stage: str = "AWSCURRENT") -> str:
        """Add a version under `stage`; give its id."""
        version: str = self._client.put_secret_value(SecretId=arn, VersionStages=[stage], **_value(value))["VersionId"]
        return version

    def read(self, arn: str, stage: str = "AWSCURRENT") -> dict[str, str]:
        """Read a version as an application does."""
        text = self._client.get_secret_value(SecretId=arn, VersionStage=stage)["SecretString"]
        value: dict[str, str] = json.loads(text)
        return value

    def finish(self, arn: str, version: str) -> None:
        """Let what was pending be current."""
        before = self._client.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")["VersionId"]
        self._client.update_secret_version_stage(
            SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=before
        )
        self._client.update_secret_version_stage(
            SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=version
        )

    def rotate(self, arn: str, server: DatabaseServer, between: Callable[[], None], *, alternate: bool = False) -> None:
        """Rotate as AWS's functions do, calling `between` while the database is ahead of the secret.

        With `alternate` between two users, NAME and NAME_clone, otherwise of the one user.
        """
        value = self.read(arn)
        if alternate:
            name = value["username"]
            value["username"] = name.removesuffix("_clone") if name.endswith("_clone") else f"{name}_clone"
        value["password"] = f"Rotated-{secrets.token_hex(8)}"
        version = self.put(arn, value, "AWSPENDING")
        server.execute(f"ALTER USER '{value['username']}'@'%' IDENTIFIED BY '{value['password']}'")
        between()
        self.finish(arn, version)


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bytes):
        return {"SecretBinary": value}
    return {"SecretString": value if isinstance(value, str) else json.dumps(value)}


def environment(url: str) -> dict[str, str]:
    """Give the variables that lead AWS's tools to the API at `url`, and nowhere else."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "Planted-AWS-Secret-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
