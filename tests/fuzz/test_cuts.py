"""A session cut at each byte, in the login and behind it, has the same answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from rdsproxy.demo.server import tied_to_us
from tests.fuzz.conftest import FUZZ
from tests.servers import MariaDB


def test_a_session_cut_at_each_byte(database_to_fuzz: MariaDB, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"username": FUZZ.name, "password": FUZZ.password}))
    done = subprocess.run(
        [*tied_to_us("KILL"), sys.executable, "-m", "tests.fuzz.cutting", str(database_to_fuzz.port), str(secret)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = re.search(r"(\d+) bytes, (\d+) answers, the same at each cut", done.stdout)
    assert said, done.stdout
    assert int(said[1]) > 300
    assert int(said[2]) == 13
    assert "Traceback" not in done.stdout + done.stderr
