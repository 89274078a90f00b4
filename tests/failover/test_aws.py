"""The topology `aws`: real servers, and moto in the place of the RDS API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.credentials.secrets_manager import environment
from tests.failover.aurora import AuroraCluster, ClusterProxy, aurora_servers, server_of
from tests.failover.dns import NameServer
from tests.integration.proxy import LogLine
from tests.servers import DatabaseServer, free_port

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

REGION = "eu-west-1"
CLUSTER = "orders"
PREFIX = "db-"


class Api:
    """The RDS API at ``url``; nobody listens there outside of ``running``. Instances have the ids of the servers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._api_port = free_port()
        self.url = f"http://127.0.0.1:{self._api_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer, knowing of nothing at first."""
        server = ThreadedMotoServer("127.0.0.1", self._api_port, verbose=False)
        server.start()
        try:
            self._client: Any = boto3.session.Session().client("rds", region_name=REGION)
            yield
        finally:
            server.stop()
            reset()

    def create_cluster(self, *names: str, engine: str = "aurora-mysql") -> None:
        """Make the cluster of these."""
        self._client.create_db_cluster(
            DBClusterIdentifier=CLUSTER, Engine=engine, MasterUsername="root", MasterUserPassword="Password-1",
            **({} if engine == "aurora-mysql" else {"AllocatedStorage": 100, "Iops": 1000,
                                                    "DBClusterInstanceClass": "db.m5d.large"}),
        )
        for name in names:
            self.create_instance(name, engine=engine, DBClusterIdentifier=CLUSTER)

    def create_instance(self, name: str, *, engine: str = "aurora-mysql", **more: str) -> None:
        """Make an instance, of the cluster if that is named."""
        self._client.create_db_instance(
            DBInstanceIdentifier=PREFIX + name, Engine=engine, DBInstanceClass="db.r5.large", Port=self._port, **more
        )

    def delete_instance(self, name: str) -> None:
        """Delete an instance."""
        self._client.delete_db_instance(DBInstanceIdentifier=PREFIX + name, SkipFinalSnapshot=True)


def reset() -> None:
    """Let moto forget everything."""
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()


class AwsProxy(ClusterProxy):
    """A proxy that is told of no target."""

    def _config(self) -> str:
        return re.sub(r"\[\[target_group\.targets]]\nhost = .*\nport = .*\n", "", super()._config())


@pytest.fixture(scope="module")
def servers(kind: type[DatabaseServer]) -> Iterator[dict[str, DatabaseServer]]:
    with aurora_servers(kind, PREFIX) as servers:
        yield servers


@pytest.fixture
def cluster(servers: dict[str, DatabaseServer]) -> Iterator[AuroraCluster]:
    with AuroraCluster(servers, prefix=PREFIX) as cluster:
        yield cluster


@pytest.fixture
def plain(servers: dict[str, DatabaseServer]) -> Iterator[AuroraCluster]:
    """Servers that do not know of each other."""
    with AuroraCluster(servers, is_aurora=False) as cluster:
        yield cluster


@pytest.fixture
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The API, and an environment that leads to it."""
    name = "plain" if "plain" in request.fixturenames else "cluster"
    api = Api(request.getfixturevalue(name).port)
    for variable, value in environment(api.url).items():
        monkeypatch.setenv(variable, value)
    return api


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as names:
        for name in "234":
            names.set(host(name), f"127.0.0.{name}")
        yield names


def host(name: str) -> str:
    """Give the endpoint that moto invents."""
    return f"{PREFIX}{name}.aaaaaaaaaa.{REGION}.rds.amazonaws.com"


def topology(names: NameServer, **more: str) -> dict[str, object]:
    return {"kind": "aws", "region": REGION, "dns_servers": [f"{names.host}:{names.port}"], **more}


def is_refusal(line: LogLine) -> bool:
    return "the RDS API does not say" in line.get("event", "")


def test_the_servers_of_aurora_say_who_there_is_and_the_api_says_where(
    cluster: AuroraCluster, api: Api, names: NameServer, tmp_path: Path
) -> None:
    with api.running(), AwsProxy(cluster, tmp_path, topology(names, cluster=CLUSTER)) as proxy:
        # Nothing is there yet, and the proxy listens.
        assert "DBClusterNotFoundFault" in proxy.wait_for_log(is_refusal)["reason"]
        api.create_cluster("2", "3")
        with proxy.connect() as session:
            assert server_of(session) == "2"
            proxy.wait_for_targets("2", "3")
            proxy.wait_until_readers_go_to("3")
            api.create_instance("4", DBClusterIdentifier=CLUSTER)
            cluster.have("2", "3", "4")
            proxy.wait_for_targets("2", "3", "4")
            seen = len(proxy.log)
            cluster.have("2", "4")
            cluster.lose("3")
            proxy.wait_for_targets("2", "4", after=seen)  # the API goes on to tell of 3
            cluster.lose("2")
            cluster.write("4")
            assert server_of(session) == "4"


@on_mariadb
def test_the_api_is_away_at_the_start(cluster: AuroraCluster, api: Api, names: NameServer, tmp_path: Path) -> None:
    with (
        AwsProxy(cluster, tmp_path, topology(names, cluster=CLUSTER)) as proxy,
        ThreadPoolExecutor(1) as thread,
    ):
        assert "Could not connect" in proxy.wait_for_log(is_refusal)["reason"]
        waiting = thread.submit(proxy.connect)
        with api.running():
            api.create_cluster("2", "3")
            with waiting.result() as session:
                assert server_of(session) == "2"
            proxy.wait_for_log(lambda line: line.get("event") == "the RDS API answers again")


def test_servers_that_list_nobody_are_those_of_the_api(
    plain: AuroraCluster, api: Api, names: NameServer, tmp_path: Path
) -> None:
    """As in a Multi-AZ DB cluster."""
    with api.running():
        api.create_cluster("2", "3", engine="mysql")
        with AwsProxy(plain, tmp_path, topology(names, cluster=CLUSTER)) as proxy, proxy.connect() as session:
            proxy.wait_for_targets("2", "3")
            assert server_of(session) == "2"
            # In trouble the API is asked, and not only in half a minute.
            api.create_instance("4", engine="mysql", DBClusterIdentifier=CLUSTER)
            api.delete_instance("3")
            plain.lose("2")
            proxy.wait_for_targets("2", "4")
            plain.write("4")
            assert server_of(session) == "4"


def test_the_address_of_an_instance_moves(
    plain: AuroraCluster, api: Api, names: NameServer, tmp_path: Path
) -> None:
    with api.running():
        api.create_instance("2", engine="mysql", MasterUsername="root", MasterUserPassword="Password-1")
        with AwsProxy(plain, tmp_path, topology(names, instance=f"{PREFIX}2")) as proxy, proxy.connect() as session:
            assert server_of(session) == "2"
            plain.lose("2")
            plain.write("3")
            names.set(host("2"), "127.0.0.3")
            assert server_of(session) == "3"
            proxy.wait_for_targets("3")
