"""Whether each secret can be read, and holds what it should."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, TimeoutError, gatherResults, maybeDeferred

from rdsproxy.config import AuthSettings
from rdsproxy.credentials.building import local_source
from rdsproxy.credentials.errors import SecretError
from rdsproxy.credentials.parsing import parse
from rdsproxy.credentials.secrets_manager import SecretsManager
from rdsproxy.doctor.aws import remedy_of
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.iam.keys import parse_keys
from rdsproxy.interfaces import Credential, ISecretSource

_TIMEOUT = 40.0
"""Seconds for one secret: more than boto3 takes to give up."""
_OF_ITS_TEXT = ("not JSON", "must be", "has no", '"', "is binary", "each access key")

Taken = TypeVar("Taken")


async def check_secrets(
    auth: Sequence[AuthSettings], manager: SecretsManager, reactor: Any
) -> tuple[list[Finding], list[Credential]]:
    """Read all of them, at the same time; give what was found and the credentials of those that can be used."""
    results = await gatherResults([Deferred.fromCoroutine(_check(entry, manager, reactor)) for entry in auth])
    findings: list[Finding] = []
    credentials: dict[str, tuple[str, Credential]] = {}
    for entry, (found, credential) in zip(auth, results, strict=True):
        findings += found
        if credential is None:
            continue
        name = _name(entry)
        first, _ = credentials.setdefault(credential.username, (name, credential))
        if first != name:
            findings.append(
                fail(f"secret {name}", f"it has the same username as {first}", "take one of the two out of the file")
            )
    return findings, [credential for _, credential in credentials.values()]


async def check_keys(entry: AuthSettings, manager: SecretsManager, reactor: Any) -> list[Finding]:
    """Read the access keys by which tokens are verified."""
    subject = f"access keys {_name(entry)}"
    keys = await _read(entry, manager, reactor, parse_keys)
    if isinstance(keys, SecretError):
        return [fail(subject, keys.reason, _remedy(entry, keys.reason, '{"AKIA...": {"secret_access_key": ...}}'))]
    return [ok(subject, f"{len(keys)} can be used"), *check_mode(subject, entry.secret)]


async def _check(
    entry: AuthSettings, manager: SecretsManager, reactor: Any
) -> tuple[list[Finding], Credential | None]:
    subject = f"secret {_name(entry)}"
    credential = await _read(
        entry, manager, reactor, lambda name, text: parse(name, text, entry.client_plugin)
    )
    if isinstance(credential, SecretError):
        remedy = _remedy(entry, credential.reason, '{"username": "app", "password": "..."}')
        return [fail(subject, credential.reason, remedy)], None
    return [ok(subject, f"user {credential.username}"), *check_mode(subject, entry.secret)], credential


async def _read(
    entry: AuthSettings, manager: SecretsManager, reactor: Any, take: Callable[[str, str | bytes], Taken]
) -> Taken | SecretError:
    source: ISecretSource
    if entry.secret_arn is not None:
        source = manager.secret(entry.secret_arn, 60.0)
    else:
        assert entry.secret is not None
        source = local_source(entry.secret)
    try:
        versions = await maybeDeferred(source.read, False).addTimeout(_TIMEOUT, reactor)
        return take(source.name, versions.current)
    except SecretError as error:
        return error
    except TimeoutError:
        return SecretError(source.name, "timeout on endpoint: no answer in time")


def check_mode(subject: str, secret: str | None) -> list[Finding]:
    """Look at who may read a secret, if it is a file."""
    if secret is None or not secret.startswith("file:"):
        return []
    return check_mode_of(subject, Path(secret.removeprefix("file:")))


def check_mode_of(subject: str, path: Path) -> list[Finding]:
    """Look at who may read a file that is nobody else's business."""
    mode = path.stat().st_mode
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return []
    what = "changed" if mode & stat.S_IWOTH else "read"
    return [
        warn(subject, f"everyone on this machine may have it {what}: mode {stat.S_IMODE(mode):04o}",
             f"chmod 0600 {path}, and make it the file of the user that the proxy runs as")
    ]


def _name(entry: AuthSettings) -> str:
    return str(entry.secret_arn or entry.secret).removeprefix("file:")


def _remedy(entry: AuthSettings, reason: str, example: str) -> str:
    if entry.secret_arn is not None and not reason.startswith(_OF_ITS_TEXT):
        return remedy_of(reason, "secretsmanager:GetSecretValue", entry.secret_arn)
    if reason == "Permission denied":
        return "make it readable for the user that the proxy runs as"
    if reason == "No such file or directory":
        return "write it, or correct the path"
    if reason == "the environment variable is not set":
        return "set it where the proxy is started, or correct its name"
    return f"it must be JSON text such as {example}"
