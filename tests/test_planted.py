"""The search of a run's output for secrets: it finds them, wherever and by whichever process they were said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.proxy import ROOT

LEAKING = """
import os
import pytest
from tests import planted

@pytest.mark.parametrize("number", range(4))
def test_says_something(number):
    planted.plant(f"Hidden-{number}-ä", "x")
    planted.keep("log", f"x\\n{os.getpid()}")

def test_says_a_secret():
    planted.keep("log", "a line\\nand SAID\\\\u00e4, as JSON writes it")
"""


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "two"])
def test_a_leak_fails_the_run(tmp_path: Path, processes: tuple[str, ...]) -> None:
    status, out = run(tmp_path, "Hidden-3-", *processes)
    assert status == 1
    assert "5 passed" in out
    (place,) = re.findall(r"a secret that a test planted is in the output (\S+)", out)
    path, _, line = place.rpartition(":")
    assert line == "2"
    assert "Hidden-3-" in Path(path).read_text()
    assert "Hidden" not in out


def test_without_a_leak(tmp_path: Path) -> None:
    status, out = run(tmp_path, "Hidden-5-")
    assert status == 0
    assert "5 passed" in out
    assert "planted" not in out
    assert not list(tmp_path.glob("rdsproxy-output-*"))


def run(folder: Path, said: str, *more: str) -> tuple[int, str]:
    """Run tests that say `said` with the hooks of this run; give the status and what is printed."""
    file = folder / "test_said.py"
    file.write_text(LEAKING.replace("SAID", said))
    environment = {name: value for name, value in os.environ.items() if name != "RDSPROXY_TEST_OUTPUT"}
    options = ["-q", "-c", str(ROOT / "setup.cfg"), "--rootdir", str(ROOT), "-p", "tests.conftest", *more]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(file)],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr
