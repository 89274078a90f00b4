"""A target group from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rdsproxy.backend.connector import Connector
from rdsproxy.backend.known import Known
from rdsproxy.backend.login import TLSPolicy
from rdsproxy.config import Config, TargetGroupSettings
from rdsproxy.config.values import SERVER_ID, dns_server
from rdsproxy.iam.minting import Mint
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.tls import backend_tls
from rdsproxy.topology.aurora import Aurora
from rdsproxy.topology.aurora_probe import AuroraProbe
from rdsproxy.topology.aws import AskingThread, Aws
from rdsproxy.topology.discovery import Discovery, Listed
from rdsproxy.topology.dns import Named, server_lookup, system_lookup
from rdsproxy.topology.group import Group
from rdsproxy.topology.health import Health, Role
from rdsproxy.topology.probe import Probe
from rdsproxy.topology.rds_api import RdsApi
from rdsproxy.topology.target import Place, Target
from rdsproxy.topology.watch import Watch
from rdsproxy.wire import Wires


def build_group(
    config: Config,
    make_connector: Callable[[Place], Connector],
    users: ICredentialProvider,
    monitors: ICredentialProvider,
    known: Known,
    reactor: Any,
) -> Group:
    """Make the group of `config`, for these users. `monitors` look at the targets, the first that is let in."""
    settings = config.target_group
    topology = settings.topology
    limits = limits_of(settings)
    counts = Counts()

    def make_target(place: Place) -> Target:
        return Target(place, make_connector(place))

    def make_watch(target: Target, in_haste: Callable[[], bool], told: Callable[[Health, bool], None]) -> Watch:
        make_probe = AuroraProbe if topology.kind == "aurora" or topology.cluster is not None else Probe
        probe = make_probe(target.connector, monitors, topology.check_timeout, reactor)
        return Watch(probe, topology.check_interval, in_haste, told, reactor)

    def make_pool(target: Target) -> Pool:
        return Pool(limits, target.connector, reactor, known, counts)

    return Group(
        _aurora(settings, make_target, make_watch) if topology.kind == "aurora" else _discovery(settings, reactor),
        make_target,
        make_watch,
        make_pool,
        known=known,
        counts=counts,
        users=users.usernames,
        roles=frozenset(Role(endpoint.target_role) for endpoint in config.proxy.endpoints),
        borrow_timeout=settings.connection_borrow_timeout,
        max_lag=topology.max_replica_lag,
        writer_serves_readers=topology.writer_serves_readers,
        reactor=reactor,
    )


def limits_of(settings: TargetGroupSettings) -> Limits:
    """Give what bounds the pools of a group."""
    return Limits(
        settings.max_connections_percent,
        settings.max_connections,
        settings.max_idle_connections_percent,
        settings.connection_borrow_timeout,
        settings.max_prepared_statements,
    )


def connectors_of(
    config: Config, users: ICredentialProvider, wires: Wires, mint: Mint | None, reactor: Any
) -> Callable[[Place], Connector]:
    """Give what makes the connector of a place, for these users, or for their tokens by `mint`.

    That raises TLSConfigError for a file of ``[target_group.tls]`` that cannot be used.
    """
    group = config.target_group
    mode = group.tls.mode

    def make_connector(place: Place) -> Connector:
        creator = backend_tls(mode, place.name, group.tls.ca)
        return Connector(
            place.host,
            place.port,
            TLSPolicy(creator, required=mode not in ("DISABLED", "PREFERRED")),
            config.proxy.init_query,
            users,
            wires,
            reactor,
            pin_untracked_sets="EXCLUDE_VARIABLE_SETS" not in group.session_pinning_filters,
            mint=None if mint is None else lambda user: mint.token(place.name, place.port, user),
        )

    return make_connector


def _aurora(
    settings: TargetGroupSettings,
    make_target: Callable[[Place], Target],
    make_watch: Callable[[Target, Callable[[], bool], Callable[[Health, bool], None]], Watch],
) -> Aurora:
    (seed,) = settings.targets
    pattern = settings.topology.host_pattern
    assert pattern is not None

    def watch_seed(in_haste: Callable[[], bool], told: Callable[[Health, bool], None]) -> Watch:
        return make_watch(make_target(Place(seed.host, seed.port, seed.host)), in_haste, told)

    def place_of(server_id: str) -> Place:
        host = pattern.replace(SERVER_ID, server_id)
        return Place(host, seed.port, host)

    return Aurora(watch_seed, place_of)


def _discovery(settings: TargetGroupSettings, reactor: Any) -> Discovery:
    topology = settings.topology
    servers = [dns_server(server) for server in topology.dns_servers]
    lookup = server_lookup(servers, reactor) if servers else system_lookup(reactor)

    def named(host: str, port: int) -> Named:
        return Named(host, port, lookup, topology.check_interval, reactor)

    if topology.kind == "dns":
        (target,) = settings.targets
        return named(target.host, target.port)
    if topology.kind == "aws":
        api = RdsApi(topology.cluster, topology.instance, topology.region)
        return Aws(AskingThread(api.endpoints, reactor), named, reactor)
    if topology.kind == "static":
        return Listed(
            [Place(target.host, target.port, target.host, Role(role)) for target, role in settings.static_targets]
        )
    return Listed([Place(target.host, target.port, target.host) for target in settings.targets])
