"""Ask the RDS API where servers are: in a thread."""

from __future__ import annotations

from typing import Any, NamedTuple

from rdsproxy.aws import is_of_the_environment, make_client, reason_of


class Endpoint(NamedTuple):
    """Where an instance is, by name."""

    instance: str
    """Its DBInstanceIdentifier."""
    host: str
    port: int


class ApiError(Exception):
    """The API did not say where the servers are; why, in one line."""


class RdsApi:
    """The instances of a DB cluster, or one DB instance. Used by one thread at a time."""

    def __init__(self, cluster: str | None, instance: str | None, region: str | None) -> None:
        self._cluster = cluster
        self._instance = instance
        self._region = region
        self._client: Any = None

    def endpoints(self) -> list[Endpoint]:
        """Ask; give those that have an endpoint, at least one. Raises ApiError. Blocks, for half a minute at most."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._client is None:
                self._client = make_client("rds", self._region)
            found = self._instances()
        except (BotoCoreError, ClientError) as error:
            if is_of_the_environment(error):
                # Without credentials or a region: what has been found out of them is kept by the client.
                self._client = None
            raise ApiError(reason_of(error)) from None
        endpoints = [
            Endpoint(one["DBInstanceIdentifier"], one["Endpoint"]["Address"], one["Endpoint"]["Port"])
            for one in found
            if one.get("Endpoint", {}).get("Address")
        ]
        if not endpoints:
            raise ApiError("no instance has an endpoint")
        return endpoints

    def _instances(self) -> list[dict[str, Any]]:
        if self._instance is not None:
            answer = self._client.describe_db_instances(DBInstanceIdentifier=self._instance)
            return list(answer["DBInstances"])
        # The filter alone would give an empty list for a cluster that does not exist.
        (cluster,) = self._client.describe_db_clusters(DBClusterIdentifier=self._cluster)["DBClusters"]
        wanted = {"Name": "db-cluster-id", "Values": [cluster["DBClusterIdentifier"]]}
        pages = self._client.get_paginator("describe_db_instances").paginate(Filters=[wanted])
        return [one for page in pages for one in page["DBInstances"]]
