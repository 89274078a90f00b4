"""One Node process that runs the drivers, and sessions in it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any, Self

from tests.integration.node.install import HERE, install_drivers, node_program
from tests.integration.proxy import SHA2, Account, Proxy
from tests.servers import Certificates, DatabaseServer


class DriverError(Exception):
    """An error that a driver raised: MySQL's code and SQLSTATE, where it came from a server, and the message."""

    def __init__(self, code: int | None, sqlstate: str | None, message: str) -> None:
        super().__init__(f"{code} ({sqlstate}): {message}")
        self.code = code
        self.sqlstate = sqlstate
        self.message = message


@dataclass(frozen=True)
class Result:
    """One result of a statement: rows and columns (names and types), or what was done."""

    rows: list[list[Any]] | None = None
    columns: list[list[Any]] | None = None
    affected: int | None = None
    insertId: int | None = None
    warnings: int | None = None


class Node:
    """``with Node() as node: ...``. Raises DriversMissingError when it is made, where it cannot be had."""

    def __init__(self) -> None:
        self._command = [node_program(), str(HERE / "drivers.js")]
        self._environment = {**os.environ, "NODE_PATH": str(install_drivers())}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=self._environment,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()

    def ask(self, command: str, **arguments: object) -> Any:
        """Run a command of drivers.js. Raises DriverError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": {"message": "Node has died"}}')
        if "error" in answer:
            error = answer["error"]
            raise DriverError(error.get("code"), error.get("sqlstate"), error["message"])
        return answer.get("result")

    def connect(
        self,
        driver: str,
        to: Proxy | DatabaseServer,
        account: Account = SHA2,
        tls: Certificates | None = None,
        **more: object,
    ) -> Session:
        """Log in: schema app, utf8mb4, unless `more` (options as drivers.js names them) says otherwise."""
        options = {
            "host": to.host,
            "port": to.port,
            "user": account.name,
            "password": account.password,
            "database": "app",
            "charset": "utf8mb4",
            **more,
        }
        if tls is not None:
            options["ca"] = str(tls.ca)
        found = self.ask("connect", driver=driver, options=options)
        return Session(self, found["id"], found["version"])


class Session:
    """A session of one of the drivers. `with` closes it."""

    def __init__(self, node: Node, number: int, version: str) -> None:
        self.version = version
        """The server's, as its greeting said it."""
        self._node = node
        self._number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.do("close")

    def do(self, command: str, **arguments: object) -> Any:
        """Run a command of drivers.js in this session. Raises DriverError."""
        return self._node.ask(command, session=self._number, **arguments)

    def results(self, sql: str, *values: object) -> list[Result]:
        """Run one or more statements; give all that they give."""
        return [Result(**found) for found in self.do("query", sql=sql, values=values or None)]

    def run(self, sql: str, *values: object) -> Result:
        """Run a statement."""
        (result,) = self.results(sql, *values)
        return result

    def rows(self, sql: str, *values: object) -> list[list[Any]]:
        """Run a query; give its rows."""
        found = self.run(sql, *values).rows
        assert found is not None
        return found

    def one(self, sql: str, *values: object) -> Any:
        """Run a query; give the one value of its one row."""
        ((value,),) = self.rows(sql, *values)
        return value

    def execute(self, sql: str, *values: object) -> list[Result]:
        """Run a prepared statement."""
        return [Result(**found) for found in self.do("execute", sql=sql, values=values)]

    def prepared(self, sql: str, *lists: list[object]) -> list[Result]:
        """Prepare a statement, run it with each of the lists of values, and close it."""
        return [Result(**found) for found in self.do("prepared", sql=sql, lists=lists)]
