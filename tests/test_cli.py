"""The ``rdsproxy`` command."""

from __future__ import annotations

import json
import runpy
import sys
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


def test_check_config_shows_who_verifies_tokens(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(file.parent, SERVERS["name"])
    file.write_text(file.read_text().replace("[[proxy.auth]]", '[[proxy.auth]]\niam_auth = "REQUIRED"'))
    with file.open("a") as config:
        config.write('[proxy.tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n')
        config.write('[proxy.iam]\nverify = "sts"\nhost = "proxy.example.com"\nregion = "eu-west-1"\n')
        config.write('principals = [{ arn = "arn:aws:iam::123456789012:role/orders", users = ["app"] }]\n')
    assert main(["check-config", str(file)]) == 0
    assert "\n    IAM tokens of clients verified by sts\n" in capsys.readouterr().out
    monkeypatch.setenv("AWS_ENDPOINT_URL", "here")
    assert main(["check-config", str(file)]) == 1
    assert "\n  AWS_ENDPOINT_URL: must be http:// or https:// and a host" in capsys.readouterr().out


def test_check_config_shows_the_admin_endpoint(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with file.open("a") as config:
        config.write('[admin]\nlisten = "tcp:8404:interface=127.0.0.1"\n')
    assert main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out.endswith("\n  admin tcp:8404:interface=127.0.0.1: /health, /metrics\n")


def test_check_config_asks_no_api(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = '[target_group.topology]\nkind = "aws"\ncluster = "orders"\n'
    file.write_text(CONFIG.partition("[[target_group.targets]]")[0] + topology)
    assert main(["check-config", str(file)]) == 0
    assert "\n  targets: the RDS cluster orders, as the RDS API says\n" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n"
        "  target_group.topology.kind: 'aws' needs boto3: pip install rdsproxy[aws]\n"
    )


def test_check_config_asks_for_no_secret(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbCdEf"
    file.write_text(CONFIG.replace('secret = "file:app.json"', f'secret_arn = "{arn}"'))
    assert main(["check-config", str(file)]) == 0
    assert f"\n    the user of {arn} (caching_sha2_password), which was not asked for\n" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n  proxy.auth[0].secret_arn needs boto3: pip install rdsproxy[aws]\n"
    )


def test_check_config_says_that_tokens_for_the_database_need_boto3(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = '[proxy]\ndefault_auth_scheme = "IAM_AUTH"'
    tls = '[target_group.tls]\nmode = "VERIFY_IDENTITY"\n'
    file.write_text(CONFIG.replace("[proxy]", scheme, 1) + tls)
    assert main(["check-config", str(file)]) == 0
    monkeypatch.setitem(sys.modules, "boto3", None)
    capsys.readouterr()
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n  proxy.default_auth_scheme: 'IAM_AUTH' needs boto3: pip install rdsproxy[aws]\n"
    )


def test_check_config_looks_into_secrets_one_by_one(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND", '{"username": "app", "password": "hunter3"}')
    with file.open("a") as config:
        config.write('[[proxy.auth]]\nsecret = "env:SECOND"\n[[proxy.auth]]\nsecret = "env:THIRD_OF_NONE"\n')
        config.write('[target_group.topology]\nmonitor_secret = "file:monitor.json"\n')
    assert main(["check-config", str(file)]) == 1
    assert capsys.readouterr().out == (
        f"{file}: would not run\n"
        f"  secret env:SECOND: has the same username as {file.parent}/app.json\n"
        "  secret env:THIRD_OF_NONE: the environment variable is not set\n"
        f"  secret {file.parent}/monitor.json: No such file or directory\n"
    )


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
