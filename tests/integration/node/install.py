"""Node's drivers in the cache, as package-lock.json names them: installed once, used by every later run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.servers.cache import cache_folder, locked, made_whole

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json")


class DriversMissingError(Exception):
    """Node or its drivers cannot be had on this machine; the message says why and what to do."""


def node_program() -> str:
    """Return the path of Node. Raises DriversMissingError."""
    program = shutil.which("node")
    if program is None:
        raise DriversMissingError("node is missing (Debian: sudo apt-get install nodejs npm)")
    return program


def install_drivers() -> Path:
    """Return the node_modules folder with the drivers, fetching them if the cache has none.

    Raises DriversMissingError without npm or without the network.
    """
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    name = f"node-{digest[:12]}"
    folder = cache_folder() / name
    with locked(name):
        if not folder.exists():
            _install(folder)
    return folder / "node_modules"


def _install(target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DriversMissingError("npm is missing (Debian: sudo apt-get install npm)")
    with made_whole(target) as folder:
        for name in FILES:
            shutil.copy(HERE / name, folder / name)
        # The lock file's own versions; no program of a package runs.
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or ["it said nothing"]
            raise DriversMissingError(
                f"Node's drivers could not be fetched (is the network there?): npm ci: {said[0]}"
            )
