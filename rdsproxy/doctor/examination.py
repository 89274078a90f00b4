"""All checks of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.python.failure import Failure

from rdsproxy.aws import require_boto3_for
from rdsproxy.config import Config
from rdsproxy.credentials import StaticCredentials
from rdsproxy.credentials.secrets_manager import SecretsManager
from rdsproxy.doctor.aws import remedy_of
from rdsproxy.doctor.certificate import check_certificate
from rdsproxy.doctor.finding import Finding, Level, fail, ok
from rdsproxy.doctor.places import find_places
from rdsproxy.doctor.ports import check_ports
from rdsproxy.doctor.secrets import check_keys, check_secrets
from rdsproxy.doctor.sts import check_sts
from rdsproxy.doctor.target import TargetExamination
from rdsproxy.doctor.topology import check_roles
from rdsproxy.errors import StartError
from rdsproxy.hub import Hub
from rdsproxy.iam.minting import Mint, MintingError
from rdsproxy.tls import TLSConfigError, backend_tls
from rdsproxy.topology.building import connectors_of
from rdsproxy.topology.target import Place
from rdsproxy.wire import Wires

TIMEOUT: Final = 120.0
"""Seconds for all of one target: hundreds of users log in there one by one."""
_CLOSING: Final = 10.0
"""Seconds for the connections to be closed."""


async def examine(config: Config, reactor: Any) -> list[Finding]:
    """Check each link, and give what was found in the order of the chain. Takes minutes at most.

    Logs in at the targets and listens for a moment; changes nothing.
    """
    findings = await check_ports(config, reactor)
    if config.proxy.tls is not None:
        findings += check_certificate(config.proxy.tls)
    broken = _check_parts(config)
    if broken:
        return [*findings, *broken]
    wires = Wires(Hub.of(reactor), reactor)
    manager = SecretsManager(reactor)
    mint = Mint(reactor) if config.proxy.default_auth_scheme == "IAM_AUTH" else None
    manager.start()
    if mint is not None:
        mint.start()
    try:
        findings += await _examine_targets(config, manager, mint, wires, reactor)
    finally:
        manager.stop()
        if mint is not None:
            mint.stop()
        await wires.when_empty().addTimeout(_CLOSING, reactor, lambda *_: None)
        wires.close()
    return findings


def _check_parts(config: Config) -> list[Finding]:
    """See that what the other checks are made with is there."""
    findings: list[Finding] = []
    tls = config.target_group.tls
    try:
        require_boto3_for(config)
    except StartError as error:
        findings.append(fail("libraries", str(error), "pip install rdsproxy[aws]"))
    try:
        backend_tls(tls.mode, config.target_group.some_host, tls.ca)
    except TLSConfigError as error:
        findings.append(fail("authorities", str(error), "correct ca in [target_group.tls]: a PEM file"))
    return findings


async def _examine_targets(
    config: Config, manager: SecretsManager, mint: Mint | None, wires: Wires, reactor: Any
) -> list[Finding]:
    findings, credentials = await check_secrets(config.proxy.auth, manager, reactor)
    iam = config.proxy.iam
    if iam is not None and iam.key_secret is not None:
        findings += await check_keys(iam.key_secret, manager, reactor)
    if iam is not None and iam.verify == "sts":
        assert iam.region is not None
        findings += await check_sts(iam.region, reactor)
    users = monitors = StaticCredentials(credentials)
    own_monitor = config.target_group.topology.monitor
    if own_monitor is not None:
        found, credentials = await check_secrets([own_monitor], manager, reactor)
        findings += found
        monitors = StaticCredentials(credentials)
    connect = connectors_of(config, users, wires, mint, reactor)
    found, places = await find_places(config, connect, monitors, reactor)
    findings += found
    if mint is not None and places and users.usernames():
        finding = await _check_minting(mint, places[0], users.usernames()[0])
        findings.append(finding)
        if finding.remedy:
            return findings
    examinations = [TargetExamination(config, place, connect(place), users, monitors, reactor) for place in places]
    await gatherResults([_in_time(examination, reactor) for examination in examinations])
    for examination in examinations:
        findings += examination.findings
    return [*findings, *check_roles(config, {one.place: one.health for one in examinations})]


def _in_time(examination: TargetExamination, reactor: Any) -> Deferred[None]:
    def failed(failure: Failure) -> None:
        subject = f"target {examination.place}"
        if failure.check(TimeoutError):
            found = fail(subject, "it did not answer all questions in time", "is it overloaded?")
        else:
            # One target's trouble does not hide what was found of the others.
            kind = failure.type.__name__ if failure.type else "failure"
            found = fail(subject, f"unexpected {kind} while it was looked at", "a fault of the doctor: report it")
        examination.findings.append(found)

    return Deferred.fromCoroutine(examination.run()).addTimeout(TIMEOUT, reactor).addErrback(failed)


async def _check_minting(mint: Mint, place: Place, user: str) -> Finding:
    """Make a token, which needs AWS credentials. Whether it is accepted the logins tell."""
    subject = "IAM token for the database"
    try:
        await mint.token(place.name, place.port, user)
    except MintingError as error:
        return fail(subject, str(error), remedy_of(str(error), "rds-db:connect", user))
    return ok(subject, "AWS credentials are found")


def summary(findings: Sequence[Finding]) -> str:
    """Count what is not well."""
    failures = sum(1 for finding in findings if finding.level is Level.FAIL)
    warnings = sum(1 for finding in findings if finding.level is Level.WARN)
    return f"{failures} failed, {warnings} to be looked at, {len(findings) - failures - warnings} well"
