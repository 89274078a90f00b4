"""``python -m rdsproxy.demo``: a private MariaDB, the proxy before it, and how to connect to it.

Everything is kept in one folder, ``./var`` as a rule, and used again by the next run. SIGINT and
SIGTERM stop the proxy and the database.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import signal
import socket as sockets
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from rdsproxy.demo.files import DATABASE, USER, certificate_authority, configuration, password
from rdsproxy.demo.leftover import stop_leftover
from rdsproxy.demo.mariadb import MariaDB
from rdsproxy.demo.server import Server, ServerError, is_free, tied_to_us

_PORTS_TRIED = 50


def main() -> int:
    """Run the demo until a signal or the proxy's own end; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rdsproxy.demo", description=__doc__)
    parser.add_argument("--var", type=Path, default=Path("var"), help="the folder for everything (default: var)")
    parser.add_argument("--port", type=int, default=3307, help="the proxy's port, or the next free (default: 3307)")
    options = parser.parse_args()
    folder: Path = options.var.absolute()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone_in(folder), _database(folder) as database:
            ca = certificate_authority(folder)
            port = _proxy_port(options.port)
            with _proxy(configuration(folder, port, database)) as proxy:
                _wait_until_listening(proxy, port)
                _say(_how_to_connect(port, password(folder), ca))
                proxy.wait()
                return proxy.returncode or 1  # it should not end by itself
    except (ServerError, OSError) as error:
        _say(f"rdsproxy demo: {error}")
        return 1


def _stop(number: int, frame: object) -> None:
    """Leave through every ``with`` block, once: a second Ctrl-C does not leave a process behind."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    _say("\nrdsproxy demo: stopping the proxy and the database")
    sys.exit(0)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(f"a demo runs in {folder} already; stop it first, or choose another folder") from None
        yield


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Server]:
    server = MariaDB(folder / "mariadb", options=["--skip-log-bin", "--local-infile=1"])
    if stop_leftover(server):
        _say("rdsproxy demo: stopped the MariaDB of an earlier run")
    _say(f"rdsproxy demo: starting MariaDB in {server.directory}")
    with server:
        account = f"'{USER}'@'%'"
        server.execute(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4",
            f"CREATE USER IF NOT EXISTS {account}",
            f"ALTER USER {account} IDENTIFIED VIA mysql_native_password USING PASSWORD('{password(folder)}')",
            f"GRANT ALL PRIVILEGES ON {DATABASE}.* TO {account}",
        )
        yield server


def _proxy_port(wanted: int) -> int:
    for port in range(wanted, min(wanted + _PORTS_TRIED, 65536)):
        if is_free(port):
            if port != wanted:
                _say(f"rdsproxy demo: port {wanted} is in use, so the proxy listens on {port}")
            return port
    raise ServerError(f"no port from {wanted} on is free; choose one with --port")


@contextlib.contextmanager
def _proxy(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    twistd = Path(sysconfig.get_path("scripts")) / "twistd"
    # Its own process group: Ctrl-C in the terminal goes to us, and we stop the proxy, then the database.
    proxy = subprocess.Popen(  # noqa: S603 - our own command line
        [*tied_to_us("TERM"), twistd, "--nodaemon", "--pidfile=", "rdsproxy", "--config", config],
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield proxy
    finally:
        proxy.terminate()
        proxy.wait()


def _wait_until_listening(proxy: subprocess.Popen[bytes], port: int, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while proxy.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), sockets.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)  # between two tries; what ends the wait is the proxy's answer
    raise ServerError("the proxy did not start; its own words are above")


def _how_to_connect(port: int, secret: str, ca: Path) -> str:
    python = (
        f"import pymysql; c = pymysql.connect(host='127.0.0.1', port={port}, user='{USER}',"
        f" password='{secret}', database='{DATABASE}', ssl={{'ca': {str(ca)!r}}}).cursor()"
    )
    return f"""
rdsproxy is ready. Connect with any MySQL client:

  mariadb --host=127.0.0.1 --port={port} --user={USER} --password={secret} --ssl-ca={quote(str(ca))} {DATABASE}
  {quote(sys.executable)} -i -c "{python}"
  mysql://{USER}:{secret}@127.0.0.1:{port}/{DATABASE}

Ctrl-C stops the proxy and its database.
"""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
