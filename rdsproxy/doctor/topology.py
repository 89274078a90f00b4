"""Whether the targets have the roles that the topology and the endpoints need."""

from __future__ import annotations

from collections.abc import Mapping

from rdsproxy.backend.connector import Connector
from rdsproxy.config import Config
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.doctor.reaching import reason_of, remedy_of
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.privileges.needs import REPLICA_STATUS, sees_replication
from rdsproxy.topology.health import Health, Reason, Role, State
from rdsproxy.topology.probe import ASK_REPLICA, ASK_REPLICA_BEFORE, FAILURES
from rdsproxy.topology.target import Place

_DENIED = 1227  # ER_SPECIFIC_ACCESS_DENIED_ERROR
_UNKNOWN = 1064  # ER_PARSE_ERROR


def check_health(subject: str, config: Config, place: Place, health: Health) -> Finding:
    """Judge what a look at a target has shown."""
    group = config.target_group
    if health.state is not State.AVAILABLE or health.role is None:
        remedy = "see its other lines"
        if health.reason is Reason.UNREACHABLE:
            remedy = "raise check_timeout in [target_group.topology], if its other lines are well"
        return fail(subject, f"the monitor's look fails: {health.detail or health.reason.value}", remedy)
    if health.reason is Reason.INVALID_REPLICATION_STATE:
        return fail(subject, health.detail, "repair its replication: SHOW REPLICA STATUS there says what stopped it")
    writes = health.role is Role.READ_WRITE
    found = "takes writes" if writes else "read-only"
    if place.role is Role.READ_WRITE and not writes:
        return fail(subject, "it is the writer, and read-only",
                    'clear read_only there, give role = "READ_WRITE" to another target, or set kind = "replication"')
    if place.role is Role.READ_ONLY and writes:
        return warn(subject, "it is a reader, and takes writes", "set read_only there")
    if health.lag is not None:
        found += f", {health.lag:g} s behind"
        most = group.topology.max_replica_lag
        if not writes and most is not None and health.lag > most:
            return warn(subject, found, f"it gets no clients until that is {most:g} s or less")
    return ok(subject, found)


def check_roles(config: Config, healths: Mapping[Place, Health]) -> list[Finding]:
    """Judge the group as a whole."""
    group = config.target_group
    roles = [place.role or health.role for place, health in healths.items() if health.state is State.AVAILABLE]
    if not roles:
        return []  # as other lines say
    wanted = {endpoint.target_role for endpoint in config.proxy.endpoints}
    writers, readers = roles.count(Role.READ_WRITE), roles.count(Role.READ_ONLY)
    findings: list[Finding] = []
    if writers > 1:
        remedy = "set read_only on all but one: clients may write to either"
        findings.append(fail("writer", f"{writers} targets take writes", remedy))
    if not writers and ("READ_WRITE" in wanted or group.topology.writer_serves_readers):
        findings.append(fail("writer", "no target that can be reached takes writes", "promote one, or mend the above"))
    if not readers and "READ_ONLY" in wanted:
        served = group.topology.writer_serves_readers
        judge = warn if served else fail
        findings.append(
            judge("readers", "there are none", "the writer serves them" if served else "add a replica, or set "
                  "writer_serves_readers in [target_group.topology]")
        )
    return findings


async def check_replication(
    subject: str, config: Config, connector: Connector, monitors: ICredentialProvider, user: str
) -> list[Finding]:
    """See whether the monitor's user may see the state of the replication, if that is of use."""
    if not sees_replication(config):
        return []
    try:
        connection = await connector.log_in_as(monitors, user, lambda *_: None)
        try:
            (answer,) = await connection.ask([ASK_REPLICA])
            if answer.err is not None and answer.err.code == _UNKNOWN:
                (answer,) = await connection.ask([ASK_REPLICA_BEFORE])
        finally:
            connection.discard()
    except FAILURES as error:
        return [fail(subject, reason_of(error), remedy_of(error))]
    if answer.err is None:
        return []
    if answer.err.code != _DENIED:
        return [fail(subject, f"SHOW REPLICA STATUS fails: error {answer.err.code}", "see the server's manual")]
    remedy = f"grant it {REPLICA_STATUS}: rdsproxy grants prints how"
    if config.target_group.topology.max_replica_lag is not None:
        return [fail(subject, "it may not see how far replicas are behind, so max_replica_lag has no effect", remedy)]
    return [warn(subject, "it may not see whether replication runs, so a replica that stands still is used", remedy)]
