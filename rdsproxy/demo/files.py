"""What the demo keeps in its folder: a secret, certificates, the proxy's configuration."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from rdsproxy.demo.certificates import make_certificates
from rdsproxy.demo.server import Server

USER = "app"
DATABASE = "app"


def password(folder: Path) -> str:
    """Return the password in ``secrets/app.json``, which is made (mode 0600) if it is not there."""
    secret = folder / "secrets" / "app.json"
    if not secret.exists():
        secret.parent.mkdir(mode=0o700, exist_ok=True)
        secret.touch(mode=0o600)
        # Hexadecimal: to be copied into a shell or a URL as it is.
        secret.write_text(json.dumps({"username": USER, "password": secrets.token_hex(12)}) + "\n")
    return str(json.loads(secret.read_text())["password"])


def certificate_authority(folder: Path) -> Path:
    """Return the PEM file of the authority that signed ``tls/server.pem``; both are made if not there."""
    if not (folder / "tls" / "server.pem").exists():
        make_certificates(folder / "tls")
    return folder / "tls" / "ca.pem"


def configuration(folder: Path, port: int, database: Server) -> Path:
    """Write ``proxy.toml`` for a proxy on ``port`` of 127.0.0.1 before ``database`` and return its path."""
    path = folder / "proxy.toml"
    path.write_text(
        f"""\
# Written anew by each start of the demo. Relative paths start at this file.
[proxy]
name = "demo"

[proxy.tls]
certificate = "tls/server.pem"
private_key = "tls/server.key"

[[proxy.endpoints]]
name = "default"
listen = ["tcp:{port}:interface=127.0.0.1"]
target_role = "READ_WRITE"

[[proxy.auth]]
secret = "file:secrets/app.json"

[target_group]
max_connections = 20

[[target_group.targets]]
host = "{database.host}"
port = {database.port}
"""
    )
    return path
