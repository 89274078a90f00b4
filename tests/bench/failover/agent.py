"""Tells load balancers over HTTP whether a database takes writes: 200 if it does, 503 if not or if it is silent.

``python -m tests.bench.failover.agent HERE=DATABASE ...``, each a HOST:PORT, asks DATABASE whenever it is asked at
HERE. It is what scripts like mysqlchk do, and Patroni's REST API.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pymysql

from tests.failover.dialects import MONITOR
from tests.integration.proxy import Account, connect, one

TIMEOUT = 1.0  # seconds
_ACCOUNT = Account(MONITOR.name, MONITOR.password, "MYSQL_CACHING_SHA2_PASSWORD")


def takes_writes(host: str, port: int) -> bool:
    """Ask on a new connection."""
    try:
        connection = connect(host, port, _ACCOUNT, database=None, connect_timeout=TIMEOUT, read_timeout=TIMEOUT)
        with connection:
            return not one(connection, "SELECT @@GLOBAL.read_only")
    except pymysql.MySQLError:
        return False


class Agent(ThreadingHTTPServer):
    """Answers for one database."""

    def __init__(self, here: tuple[str, int], database: tuple[str, int]) -> None:
        self.database = database
        super().__init__(here, _Request)


class _Request(BaseHTTPRequestHandler):
    server: Agent

    def do_GET(self) -> None:
        self.send_response(200 if takes_writes(*self.server.database) else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    """Answer until the process is ended."""
    agents = []
    for word in sys.argv[1:]:
        here, database = map(_address, word.split("="))
        agents.append(Agent(here, database))
    threads = [threading.Thread(target=agent.serve_forever) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
