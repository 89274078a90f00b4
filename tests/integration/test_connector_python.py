"""mysql-connector-python (the pure Python form) through the proxy."""

from __future__ import annotations

import mysql.connector

from tests.integration.proxy import NATIVE, Proxy


def test_select(proxy: Proxy) -> None:
    with mysql.connector.connect(
        host=proxy.host, port=proxy.port, user=NATIVE.name, password=NATIVE.password, use_pure=True
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
