"""The topology `aurora` on real servers that list each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.failover.aurora import AuroraCluster, AuroraProxy, Row, aurora_servers, server_of
from tests.failover.network import TcpRelay
from tests.integration.network import until
from tests.integration.proxy import one, run
from tests.servers import DatabaseServer


@pytest.fixture(scope="module")
def servers(kind: type[DatabaseServer]) -> Iterator[dict[str, DatabaseServer]]:
    with aurora_servers(kind) as servers:
        yield servers


@pytest.fixture
def cluster(servers: dict[str, DatabaseServer]) -> Iterator[AuroraCluster]:
    with AuroraCluster(servers) as cluster:
        yield cluster


def test_servers_come_and_go_and_ghosts_are_none(cluster: AuroraCluster, tmp_path: Path) -> None:
    cluster.have("2", "3", _9=Row(age=1000), _8=Row(lag=900, age=301))
    with AuroraProxy(cluster, tmp_path) as proxy, proxy.connect() as session:
        proxy.wait_for_targets("2", "3")
        assert server_of(session) == "2"
        proxy.wait_until_readers_go_to("3")
        until(lambda: not cluster.endpoint.connections, "the endpoint is left, as it is no target")
        cluster.have("2", "3", "4")
        proxy.wait_for_targets("2", "3", "4")
        proxy.wait_until_readers_go_to("3", "4")
        seen = len(proxy.log)
        cluster.have("2", "4", _3=Row(age=400))
        cluster.lose("3")
        proxy.wait_for_targets("2", "4", after=seen)
        proxy.wait_until_readers_go_to("4")
        assert server_of(session) == "2"
        assert not any(line.get("event") == "the writer is lost" for line in proxy.log)


def test_a_reader_is_promoted_and_the_old_writer_comes_back_as_a_reader(
    cluster: AuroraCluster, tmp_path: Path
) -> None:
    with AuroraProxy(cluster, tmp_path) as proxy, proxy.connect() as session:
        run(session, "SET @kept = 'all the way'")
        assert one(session, "SELECT @kept") == "all the way"
        cluster.lose("2")
        proxy.wait_for_log(lambda line: line.get("event") == "the writer is lost")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(one, session, "SELECT CONCAT(@@report_host, @kept)")
            cluster.write("3")
            cluster.have("2", "3")
            assert waiting.result() == "3all the way"
        seen = len(proxy.log)
        cluster.relays["2"].accept()
        proxy.wait_for_target("2", state="AVAILABLE", role="READ_ONLY", after=seen)
        proxy.wait_until_readers_go_to("2")
        assert server_of(session) == "3"
        assert not any(line["level"] == "error" for line in proxy.log)


def test_all_are_gone_and_another_one_comes_back(cluster: AuroraCluster, tmp_path: Path) -> None:
    """As after a restore under the same endpoint: whom the servers had listed does not matter any more."""
    with AuroraProxy(cluster, tmp_path) as proxy, proxy.connect() as session:
        proxy.wait_for_targets("2", "3")
        assert server_of(session) == "2"
        cluster.lose_all()
        proxy.wait_for_log(lambda line: line.get("event") == "the writer is lost")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(server_of, session)
            cluster.write("4")
            cluster.have("4")
            server = cluster.servers["4"]
            cluster.endpoint.lead_to(server.host, server.port)
            cluster.relays["4"].accept()
            cluster.endpoint.accept()
            assert waiting.result() == "4"
        proxy.wait_for_targets("4")


def test_the_endpoint_is_away_at_the_start(cluster: AuroraCluster, tmp_path: Path) -> None:
    cluster.endpoint.refuse()
    with AuroraProxy(cluster, tmp_path) as proxy:
        line = proxy.wait_for_log(lambda line: "does not tell of its servers" in line.get("event", ""))
        assert "refused" in line["reason"]
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(proxy.connect)
            cluster.endpoint.accept()
            with waiting.result() as session:
                assert server_of(session) == "2"


def test_a_reader_that_lags_gets_no_clients(cluster: AuroraCluster, tmp_path: Path) -> None:
    cluster.have("2", _3=Row(lag=1.5))
    with AuroraProxy(cluster, tmp_path, max_replica_lag=1, writer_serves_readers=True) as proxy:
        proxy.wait_for_target("3", state="AVAILABLE")
        proxy.wait_until_readers_go_to("2")
        cluster.have("2", _3=Row(lag=0.02))
        proxy.wait_until_readers_go_to("3")


def test_what_is_no_aurora_is_named(cluster: AuroraCluster, tmp_path: Path) -> None:
    server = cluster.servers["2"]
    with TcpRelay(server.host, server.port) as plain:
        cluster.endpoint = plain
        with AuroraProxy(cluster, tmp_path) as proxy:
            line = proxy.wait_for_log(lambda line: "does not tell of its servers" in line.get("event", ""))
            assert "it is not Aurora" in line["reason"]
