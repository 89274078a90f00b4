"""Targets that are found out, and roles that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdsproxy.config import from_dict
from rdsproxy.doctor.finding import Level
from rdsproxy.doctor.topology import check_health
from rdsproxy.topology.health import Health, Reason, Role, State
from rdsproxy.topology.target import Place
from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret
from tests.failover.aurora import AuroraCluster, aurora_servers
from tests.failover.dialects import MONITOR
from tests.failover.dns import Behaviour, NameServer
from tests.integration.proxy import NATIVE
from tests.servers import MariaDB, User

NAME = "primary.example"


def test_a_name_that_moves(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    with NameServer() as names:
        topology = {"kind": "dns", "dns_servers": [f"{names.host}:{names.port}"]}
        place = {"host": NAME, "port": mariadb.port}
        config = configuration([secret(tmp_path, mariadb.user)], [place], group={"topology": topology})
        unknown = diagnose(config).of(f"name {NAME}")
        assert unknown.level is Level.FAIL
        assert unknown.found.startswith("DNS does not know it")
        names.set(NAME, "127.0.0.1")
        report = diagnose(config)
        assert report.of(f"name {NAME}").found == "leads to 127.0.0.1"
        assert report.of(f"127.0.0.1:{mariadb.port} ({NAME}), role").found == "takes writes"
        names.set(NAME)
        assert diagnose(config).of(f"name {NAME}").found == "it has no address"
        names.behaviour = Behaviour.SILENT
        assert diagnose(config).of(f"name {NAME}").level is Level.FAIL


def test_an_aurora_cluster(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    with aurora_servers(MariaDB) as servers, AuroraCluster(servers) as cluster:
        topology = {
            "kind": "aurora",
            "host_pattern": "127.0.0.{server_id}",
            "monitor_secret": secret(tmp_path, MONITOR),
            "max_replica_lag": 1,
        }
        users = [secret(tmp_path, User(NATIVE.name, NATIVE.password))]
        group = {"topology": topology, "tls": {"mode": "DISABLED"}}
        config = configuration(users, [{"host": "127.0.0.1", "port": cluster.port}], group=group)
        report = diagnose(config)
        assert not report.failures()
        assert report.of(f"cluster 127.0.0.1:{cluster.port}").found == "its servers are 2, 3"
        writer, reader = (report.of(f"target {place}, role") for place in cluster.places("2", "3"))
        assert (writer.found, reader.found) == ("takes writes", "read-only, 0.01 s behind")
        secret(tmp_path, User(MONITOR.name, "Planted-Wrong"))
        report = diagnose(config)
        assert report.of(f"cluster 127.0.0.1:{cluster.port}").level is Level.FAIL
        assert "the password in the secret" in report.of(f"monitor {MONITOR.name}").remedy


LAGGING = {"kind": "replication", "max_replica_lag": 5}


@pytest.mark.parametrize(
    ("topology", "place", "health", "level", "found"),
    [
        (LAGGING, None, Health(State.AVAILABLE, Role.READ_ONLY, 4.0), Level.OK, "read-only, 4 s behind"),
        (LAGGING, None, Health(State.AVAILABLE, Role.READ_ONLY, 6.0), Level.WARN, "read-only, 6 s behind"),
        (LAGGING, None, Health(State.AVAILABLE, Role.READ_WRITE, 6.0), Level.OK, "takes writes, 6 s behind"),
        (
            LAGGING,
            None,
            Health(State.AVAILABLE, Role.READ_ONLY, None, Reason.INVALID_REPLICATION_STATE, "it stands still"),
            Level.FAIL,
            "it stands still",
        ),
        ({}, Role.READ_ONLY, Health(State.AVAILABLE, Role.READ_WRITE), Level.WARN, "it is a reader, and takes writes"),
        (
            {},
            None,
            Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE, detail="no answer in time"),
            Level.FAIL,
            "the monitor's look fails: no answer in time",
        ),
    ],
)
def test_health(
    topology: dict[str, Any], place: Role | None, health: Health, level: Level, found: str
) -> None:
    config = from_dict(configuration(["env:UNUSED"], [{"host": "10.0.0.5"}], group={"topology": topology}))
    finding = check_health("target", config, Place("10.0.0.5", 3306, "10.0.0.5", place), health)
    assert (finding.level, finding.found) == (level, found)
    assert bool(finding.remedy) == (level is not Level.OK)
