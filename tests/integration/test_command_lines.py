"""The command lines of MariaDB and of MySQL through the proxy."""

from __future__ import annotations

import subprocess

from tests.integration.proxy import NATIVE, Proxy


def test_select(proxy: Proxy) -> None:
    done = subprocess.run(
        ["mariadb", "--no-defaults", f"--host={proxy.host}", f"--port={proxy.port}", f"--user={NATIVE.name}"]
        + [f"--password={NATIVE.password}", "--batch", "--skip-column-names", "--execute=SELECT 1"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n", done.stderr
