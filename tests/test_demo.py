"""``python -m rdsproxy.demo``, what ``make run`` calls: two processes, one folder, one way to stop."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
import pytest

from tests.servers import MariaDB, free_port

# Asked for although unused: without a MariaDB on this machine these tests have nothing to run.
pytestmark = pytest.mark.usefixtures("mariadb")


class Demo:
    """A run of the demo, and what it has said so far."""

    def __init__(self, folder: Path, port: int) -> None:
        """Start the demo; ``var`` is below ``folder``."""
        self.folder = folder
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rdsproxy.demo", "--var", "var", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.rest()

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        pytest.fail(f"the demo ended without saying {text!r}:\n{self.said}")

    def rest(self) -> int:
        """Read the rest of what it says and return its exit status."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            with self.process.stdout as output:
                self.said += output.read()
        return self.process.wait()

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.rest()

    def url(self) -> str:
        found = re.search(r"mysql://\S+", self.said)
        assert found, self.said
        return found[0]

    def connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        url = urlsplit(self.url())
        return pymysql.connect(
            host=url.hostname,
            port=url.port or 0,
            user=url.username,
            password=url.password or "",
            database=url.path.strip("/"),
            autocommit=True,
            ssl={"ca": str(self.folder / "var/tls/ca.pem")},
        )

    def run(self, sql: str) -> tuple[object, ...] | None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rdsproxy-demo-") as name:
        yield Path(name)


def processes(folder: Path) -> set[int]:
    """Return the ids of the processes whose command line names something in ``folder``."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in file.read_bytes():
                found.add(int(file.parent.name))
    return found


def test_first_run_then_second_run_on_the_same_data(folder: Path) -> None:
    port = free_port()
    with Demo(folder, port) as demo:
        demo.read_until("Ctrl-C stops")
        assert urlsplit(demo.url()).port == port
        demo.run("CREATE TABLE kept (a INT)")
        demo.run("INSERT INTO kept VALUES (42)")
        assert demo.run("SELECT VERSION() LIKE '%MariaDB%'") == (1,)
        assert (folder / "var/secrets/app.json").stat().st_mode & 0o777 == 0o600
        first_url = demo.url()
        assert demo.stop(signal.SIGINT) == 0
    assert not processes(folder)

    with Demo(folder, port) as demo:
        demo.read_until("Ctrl-C stops")
        assert demo.url() == first_url
        assert demo.run("SELECT a FROM kept") == (42,)
        assert demo.stop(signal.SIGTERM) == 0
    assert not processes(folder)


def test_the_mariadb_line_can_be_pasted(folder: Path) -> None:
    with Demo(folder, free_port()) as demo:
        demo.read_until("Ctrl-C stops")
        line = next(line for line in demo.said.splitlines() if line.strip().startswith("mariadb "))
        done = subprocess.run([*line.split(), "-e", "SELECT 40 + 2"], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1:] == ["42"], done.stderr


def test_the_python_line_can_be_pasted(folder: Path) -> None:
    with Demo(folder, free_port()) as demo:
        demo.read_until("Ctrl-C stops")
        line = next(line for line in demo.said.splitlines() if "import pymysql" in line)
        done = subprocess.run(
            ["sh", "-c", line],
            input="c.execute('SELECT 40 + 2'); print(c.fetchone())\n",
            capture_output=True,
            text=True,
        )
        assert "(42,)" in done.stdout, done.stderr


def test_a_busy_port_is_told_and_the_next_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Demo(folder, port) as demo:
            demo.read_until("Ctrl-C stops")
            assert f"port {port} is in use" in demo.said
            assert demo.run("SELECT 1") == (1,)


def test_a_second_demo_in_the_same_folder_is_refused(folder: Path) -> None:
    with Demo(folder, free_port()) as demo:
        demo.read_until("Ctrl-C stops")
        with Demo(folder, free_port()) as second:
            assert second.rest() == 1
            assert "already" in second.said
        assert demo.run("SELECT 1") == (1,)


def test_what_a_killed_run_leaves_is_stopped(folder: Path) -> None:
    with Demo(folder, free_port()) as demo:
        demo.read_until("Ctrl-C stops")
        demo.process.kill()
        demo.process.wait()
        # With the demo ended, the kernel asks its proxy and its database to end too.
        for pid in processes(folder):
            with contextlib.suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                assert select.select([process], [], [], 60)[0]
                os.close(process)
    assert not processes(folder)


def test_a_mariadb_of_an_earlier_run_is_stopped_first(folder: Path) -> None:
    # As if the kernel had not stopped it: the same data, started by somebody who is still there.
    earlier = MariaDB()
    with earlier:
        with Demo(folder, free_port()) as demo:
            demo.read_until("Ctrl-C stops")
        earlier.stop()
        here = folder / "var" / "mariadb"
        earlier.data, earlier.socket, earlier.pid_file = here / "data", here / "server.sock", here / "server.pid"
        earlier.start()
        with Demo(folder, free_port()) as demo:
            demo.read_until("Ctrl-C stops")
            assert "stopped the MariaDB of an earlier run" in demo.said
            assert not earlier.running
            assert demo.run("SELECT 1") == (1,)

