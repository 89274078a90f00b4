"""A connection whose schema was dropped while nobody used it."""

from __future__ import annotations

from tests.integration.packets import Packets, error_code
from tests.integration.proxy import Proxy, one


def test_it_is_cleaned_for_the_next_session(narrow: Proxy, schema: str) -> None:
    with narrow.connect() as session:
        one(session, "SELECT 1")  # from here on the proxy knows that there is a schema app
    with narrow.connect(database=schema) as session:
        one(session, "SELECT 1")
    narrow.server.execute(f"DROP DATABASE {schema}")
    # The first statement pins: that begins on a connection that has forgotten all others.
    with Packets(narrow.host, narrow.port) as client:
        (reply,) = client.query("SET @a = 1")
        assert not error_code(reply), reply
        assert client.query("SELECT CONCAT(DATABASE(), @a)")[3].endswith(b"app1")
