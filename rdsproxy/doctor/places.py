"""Where the targets are, as the topology finds them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError

from rdsproxy.backend.connector import Connector
from rdsproxy.config import Config, TargetGroupSettings
from rdsproxy.config.values import SERVER_ID, dns_server, is_address
from rdsproxy.doctor.aws import remedy_of
from rdsproxy.doctor.finding import Finding, fail, ok
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.topology.aurora_probe import AuroraProbe
from rdsproxy.topology.aws import AskingThread
from rdsproxy.topology.dns import Lookup, server_lookup, system_lookup
from rdsproxy.topology.health import Role
from rdsproxy.topology.rds_api import ApiError, Endpoint, RdsApi
from rdsproxy.topology.target import Place

_TIMEOUT = 10.0
_API_TIMEOUT = 40.0
"""Seconds for an answer."""
_CHECK_NAME = "correct the name, or the DNS servers of this machine (/etc/resolv.conf) or of dns_servers"


async def find_places(
    config: Config, connect: Callable[[Place], Connector], monitors: ICredentialProvider, reactor: Any
) -> tuple[list[Finding], list[Place]]:
    """Find all targets, and what stands in the way."""
    group = config.target_group
    kind = group.topology.kind
    if kind == "aurora":
        return await _aurora(group, connect, monitors, reactor)
    if kind == "aws":
        return await _aws(group, reactor)
    servers = [dns_server(server) for server in group.topology.dns_servers]
    lookup = server_lookup(servers, reactor) if servers else system_lookup(reactor)
    roles = [Role(role) for _, role in group.static_targets] if kind == "static" else [None] * len(group.targets)
    findings: list[Finding] = []
    places: list[Place] = []
    for target, role in zip(group.targets, roles, strict=True):
        found, addresses = await _look_up(target.host, lookup, reactor)
        findings += found
        if kind == "dns":
            places += [Place(address, target.port, target.host) for address in addresses]
        elif addresses:
            places.append(Place(target.host, target.port, target.host, role))
    return findings, places


async def _look_up(host: str, lookup: Lookup, reactor: Any) -> tuple[list[Finding], list[str]]:
    if is_address(host):
        return [], [host]
    subject = f"name {host}"
    try:
        addresses = await lookup(host).addTimeout(_TIMEOUT, reactor)
    except (TimeoutError, CancelledError):
        return [fail(subject, "DNS does not answer in time", _CHECK_NAME)], []
    except Exception as error:
        # A resolver fails with whatever its server says.
        return [fail(subject, f"DNS does not know it: {type(error).__name__}", _CHECK_NAME)], []
    if not addresses:
        return [fail(subject, "it has no address", _CHECK_NAME)], []
    return [ok(subject, f"leads to {', '.join(addresses)}")], addresses


async def _aurora(
    group: TargetGroupSettings,
    connect: Callable[[Place], Connector],
    monitors: ICredentialProvider,
    reactor: Any,
) -> tuple[list[Finding], list[Place]]:
    (seed,) = group.targets
    pattern = group.topology.host_pattern
    assert pattern is not None
    findings, addresses = await _look_up(seed.host, system_lookup(reactor), reactor)
    if not addresses:
        return findings, []
    subject = f"cluster {seed.host}:{seed.port}"
    seed_place = Place(seed.host, seed.port, seed.host)
    probe = AuroraProbe(connect(seed_place), monitors, group.topology.check_timeout, reactor)
    health = await probe.look()
    probe.stop()
    if not health.cluster:
        remedy = "host must be the cluster's endpoint, and the monitor's user be let in there; see the target below"
        # Looked at as a target, to say more.
        return [*findings, fail(subject, health.detail or "it lists no servers", remedy)], [seed_place]
    hosts = [pattern.replace(SERVER_ID, server) for server in sorted(health.cluster)]
    findings.append(ok(subject, f"its servers are {', '.join(sorted(health.cluster))}"))
    return findings, [Place(host, seed.port, host) for host in hosts]


async def _aws(group: TargetGroupSettings, reactor: Any) -> tuple[list[Finding], list[Place]]:
    topology = group.topology
    subject = f"RDS API, {topology.cluster or topology.instance}"
    thread = AskingThread(RdsApi(topology.cluster, topology.instance, topology.region).endpoints, reactor)
    thread.start()
    try:
        endpoints: list[Endpoint] = await thread.ask().addTimeout(_API_TIMEOUT, reactor)
    except ApiError as error:
        action = "rds:DescribeDBClusters and rds:DescribeDBInstances"
        remedy = remedy_of(str(error), action, topology.cluster or topology.instance or "")
        return [fail(subject, str(error), remedy)], []
    except TimeoutError:
        return [fail(subject, "no answer in time", remedy_of("timeout on endpoint", "", ""))], []
    finally:
        thread.stop()
    findings = [ok(subject, f"its instances are {', '.join(endpoint.instance for endpoint in endpoints)}")]
    places: list[Place] = []
    servers = [dns_server(server) for server in topology.dns_servers]
    lookup = server_lookup(servers, reactor) if servers else system_lookup(reactor)
    for endpoint in endpoints:
        found, addresses = await _look_up(endpoint.host, lookup, reactor)
        findings += found
        places += [Place(address, endpoint.port, endpoint.host) for address in addresses]
    return findings, places
