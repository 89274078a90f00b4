"""MySQL's own server, clients and router, unpacked beside the system: no root, no container.

Debian carries them in its unstable suite only. They are fetched by apt with a state of its own, so
that the machine's packages and sources stay as they are; apt checks Debian's signature. They need
unstable's C library, so each program is started through the loader that is unpacked with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rdsproxy.demo.server import ServerMissingError
from tests.servers.cache import cache_folder, locked, made_whole

PACKAGES = ("mysql-server-core", "mysql-client-core", "mysql-router")
PROGRAMS = ("mysqld", "mysql", "mysqldump", "mysqladmin", "mysqlrouter")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# mysqld's package needs perl only for scripts that are not used here.
NOT_FETCHED = """\
Package: perl
Status: install ok installed
Version: 99
Architecture: all
Multi-Arch: allowed
Maintainer: nobody
Description: not needed here
"""

# "$root" is found from the script's own place, so the cache may be moved.
WRAPPER = """\
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")/root
lib="$root/{libraries}"
export LIBMYSQL_PLUGIN_DIR="$root/usr/lib/mysql/plugin"
exec "$root/{loader}" --argv0 "$root/{program}" \\
    --library-path "$lib:$lib/mysql/private:$root/usr/lib/mysql-router:$root/usr/lib/mysql-router/private" \\
    "$root/{program}" "$@"
"""


class InstallError(ServerMissingError):
    """MySQL cannot be had on this machine; the message says why and what to do."""


def installed_mysql() -> Path | None:
    """Return the folder of the newest MySQL in the cache (``bin/`` and ``root/``), or None."""
    found = sorted(cache_folder().glob("mysql-*/bin/mysqld"), key=lambda program: program.stat().st_mtime)
    return found[-1].parent.parent if found else None


def install_mysql() -> Path:
    """Return the folder of MySQL (``bin/`` and ``root/``), fetching it if the cache has none.

    Raises InstallError without apt, without a Debian mirror or without the network.
    """
    found = installed_mysql()
    if found:
        return found
    with locked("mysql"):
        return installed_mysql() or _fetch()


def _fetch() -> Path:
    for tool in ("apt-get", "dpkg-deb", "dpkg"):
        if not shutil.which(tool):
            raise InstallError(f"MySQL for the tests comes from Debian's packages, and {tool} is missing here")
    if not KEYRING.exists():
        raise InstallError(f"{KEYRING} is missing: install debian-archive-keyring")
    with tempfile.TemporaryDirectory(prefix="rdsproxy-apt-") as state:
        packages = _download(Path(state))
        (server,) = (package for package in packages if package.name.startswith("mysql-server-core_"))
        version = server.name.split("_")[1].split("-")[0]
        target = cache_folder() / f"mysql-{version}"
        with made_whole(target) as folder:
            for package in packages:
                _run(["dpkg-deb", "--extract", str(package), str(folder / "root")])
            _write_wrappers(folder)
    return target


def _download(state: Path) -> list[Path]:
    """Fetch the packages and what they need into ``state`` and return the .deb files."""
    (state / "lists").mkdir()
    (state / "parts").mkdir()
    (state / "archives" / "partial").mkdir(parents=True)
    (state / "status").write_text(NOT_FETCHED)
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {debian_mirror()} sid main\n")
    options = {
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state),
        "Dir::Cache::archives": str(state / "archives"),
        "Dir::Etc::sourcelist": str(state / "sources.list"),
        "Dir::Etc::sourceparts": str(state / "parts"),
        "Dir::Etc::preferencesparts": str(state / "parts"),
        # Root's apt hands the download to a user who cannot enter our private folders.
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", "-qq"] + [word for item in options.items() for word in ("-o", "=".join(item))]
    # Without this option apt warns about a repository that it could not reach and exits with 0.
    _run([*apt, "-o", "APT::Update::Error-Mode=any", "update"])
    _run([*apt, "--download-only", "--yes", "install", *PACKAGES])
    return sorted((state / "archives").glob("*.deb"))


def debian_mirror() -> str:
    """Return the URI of the Debian mirror that the machine's own apt uses, or $RDSPROXY_DEBIAN_MIRROR."""
    chosen = os.environ.get("RDSPROXY_DEBIAN_MIRROR")
    if chosen:
        return chosen
    wanted = ["--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]
    for line in _run(["apt-get", "indextargets", *wanted]).splitlines():
        uri, _, label = line.partition(" ")
        # Label as in the mirror's Release file; before the first apt-get update it is not known.
        if label == "Debian" or urlsplit(uri).path.strip("/") == "debian":
            return uri
    raise InstallError(
        "apt on this machine names no Debian mirror; set RDSPROXY_DEBIAN_MIRROR to the URI of one "
        "(as in a line of /etc/apt/sources.list)"
    )


def _write_wrappers(folder: Path) -> None:
    root = folder / "root"
    # One folder named after the machine (x86_64-linux-gnu, aarch64-linux-gnu) holds libraries and loader.
    loader = next(root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"), None)
    if loader is None:
        raise InstallError("Debian's C library for this machine has no loader where it was expected")
    (folder / "bin").mkdir()
    for name in PROGRAMS:
        program = next(root.glob(f"usr/*bin/{name}"))
        wrapper = folder / "bin" / name
        wrapper.write_text(
            WRAPPER.format(
                libraries=loader.parent.relative_to(root),
                loader=loader.relative_to(root),
                program=program.relative_to(root),
            )
        )
        wrapper.chmod(0o755)
    done = subprocess.run([folder / "bin" / "mysqld", "--version"], capture_output=True, text=True)
    if done.returncode:
        raise InstallError(f"the unpacked mysqld does not run here: {done.stderr.strip()}")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise InstallError(
            f"MySQL could not be fetched from Debian (is the network there?): {command[0]}: {said[0]}"
        )
    return done.stdout
