"""A proxy that is well, and the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret, target
from tests.integration.proxy import ROOT
from tests.servers import DatabaseServer, MariaDB, User

COMMAND = [sys.executable, "-c", "import sys; from rdsproxy.cli import main; sys.exit(main())", "doctor", "--config"]


def test_all_is_well(diagnose: Examiner, database: DatabaseServer, tmp_path: Path) -> None:
    tls = {"mode": "VERIFY_IDENTITY", "ca": str(database.ca_path)}
    config = configuration([secret(tmp_path, database.user)], [target(database)], group={"tls": tls})
    report = diagnose(config)
    assert not report.bad()
    assert report.of("user app").found == "logs in, session trackers work"
    assert report.of("TLS").found == "its certificate is trusted and for this name"
    assert report.of("role").found == "takes writes"
    assert report.of("max_connections").found.startswith("the proxy opens up to 5 of its max_connections, 1000; others")


def doctor(file: Path) -> tuple[int, str]:
    """Run the command; give its status and what it prints."""
    done = subprocess.run([*COMMAND, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_command(mariadb: MariaDB, tmp_path: Path) -> None:
    file = tmp_path / "rdsproxy.toml"
    file.write_text("[proxy]\n")
    status, out = doctor(file)
    assert status == 2
    assert out.startswith(f"{file}: would not run\n  proxy.endpoints: is required\n")

    place = f"target {mariadb.host}:{mariadb.port}"
    config = (
        "[[proxy.endpoints]]\nlisten = ['tcp:0:interface=127.0.0.1']\n[[proxy.auth]]\nsecret = 'file:app.json'\n"
        f"[[target_group.targets]]\nhost = '{mariadb.host}'\nport = {mariadb.port}\n"
    )
    file.write_text(config)
    secret(tmp_path, mariadb.user)
    status, out = doctor(file)
    assert status == 0  # in spite of a warning
    lines = out.splitlines()
    assert lines[0] == f"ok    configuration: {file} is valid"
    assert f"ok    {place}, role: takes writes" in lines
    warning = lines.index(f"warn  {place}, TLS: encrypted, but the server is not verified: the mode is PREFERRED")
    assert lines[warning + 1].startswith("      set mode")
    assert lines[-1].startswith("0 failed, 1 to be looked at, ")

    secret(tmp_path, User(mariadb.user.name, "Planted-wrong"))
    status, out = doctor(file)
    assert status == 1
    assert f"FAIL  {place}, user app: the server refused the login: 1045 (28000) Access denied" in out
    assert "Planted-" not in out
