"""The wire and the session's decisions work without a reactor."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
for name in ("rdsproxy.protocol", "rdsproxy.session"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
print(*sorted(sys.modules))
"""


def test_protocol_and_session_do_not_import_twisted() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "rdsproxy.protocol.reply" in modules
    assert "rdsproxy.session.session" in modules
    assert "twisted" not in modules
    # Imports run one way, too.
    assert not [name for name in modules if name.startswith(("rdsproxy.relay", "rdsproxy.pool", "rdsproxy.backend"))]
