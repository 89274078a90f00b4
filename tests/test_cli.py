"""The ``rdsproxy`` command."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from rdsproxy.cli import main
from tests.test_tls import SERVERS, settings

DOCS = Path(__file__).parent.parent / "docs"

CONFIG = """
[proxy]
name = "orders"
[[proxy.endpoints]]
listen = ["tcp:3306:interface=127.0.0.1"]
[[proxy.auth]]
secret = "file:app.json"
[target_group]
max_connections = 20
[[target_group.targets]]
host = "10.0.0.5"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good configuration and its secret."""
    (tmp_path / "app.json").write_text('{"username": "app", "password": "hunter2"}')
    file = tmp_path / "rdsproxy.toml"
    file.write_text(CONFIG)
    return file


def test_check_config_says_what_would_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"{file}: would run\n"
        "  proxy orders\n"
        "    endpoint default (READ_WRITE): tcp:3306:interface=127.0.0.1\n"
        "    user app (caching_sha2_password)\n"
        "    TLS not offered\n"
        "    at most 10000 clients\n"
        "    a client is disconnected after 1800 s without a command\n"
        "  target 10.0.0.5:3306\n"
        "    TLS PREFERRED\n"
        "    at most 100 % of its max_connections and 20 connections\n"
        "    at most 50 % of its max_connections unused\n"
        "    a statement waits at most 120 s for a connection\n"
    )


def test_check_config_shows_tls(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings(file.parent, SERVERS["name"])
    with file.open("a") as config:
        config.write('[proxy.tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n')
        config.write('[target_group.tls]\nmode = "VERIFY_CA"\nca = "server.pem"\n')
    assert main(["check-config", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"    TLS offered, certificate {file.parent}/server.pem\n" in out
    assert f"    TLS VERIFY_CA, authorities {file.parent}/server.pem\n" in out


def test_check_config_says_all_that_is_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(CONFIG.replace("max_connections = 20", "max_connections = 0").replace("name", "nam"))
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n"
        "  proxy.nam: unknown key; did you mean name?\n"
        "  target_group.max_connections: should be greater than or equal to 1, not 0\n"
    )


def test_check_config_looks_into_the_files_that_are_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "app.json").write_text('{"username": "app", "passwort": "hunter2"}')
    with file.open("a") as config:
        config.write('[proxy.tls]\ncertificate = "c.pem"\nprivate_key = "k.pem"\n')
        config.write('[target_group.tls]\nmode = "VERIFY_CA"\nca = "ca.pem"\n')
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n"
        f'  secret {file.parent}/app.json: has no "password"\n'
        f"  proxy.tls.certificate: {file.parent}/c.pem: No such file or directory\n"
        f"  target_group.tls.ca: {file.parent}/ca.pem: No such file or directory\n"
    )


def test_config_schema_is_json_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"proxy", "target_group"}
    assert schema["$defs"]["ProxySettings"]["properties"]["auth"]["maxItems"] == 200


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("rdsproxy ")


def test_the_reference_page_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "configuration.py"))["page"]
    assert page() == (DOCS / "configuration.md").read_text(encoding="utf-8"), "run: python docs/configuration.py"
