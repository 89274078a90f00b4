"""The SQL and the policy that are printed: enough, and no more than that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rdsproxy.cli import main
from rdsproxy.doctor.finding import Level
from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret, target
from tests.failover.network import TcpRelay
from tests.integration.proxy import Proxy, settings_of
from tests.servers import DatabaseServer, User, make_certificates

APP = User("granted_app", "Planted-Granted-1")
MONITOR = User("granted_monitor", "Planted-Granted-2")
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:{}-AbCdEf"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Write a configuration as TOML."""
    proxy, group = config["proxy"], config["target_group"]
    lists = {"proxy": ("endpoints", "auth"), "target_group": ("targets",)}
    lines = []
    for name, section in (("proxy", proxy), ("target_group", group)):
        plain = {key: value for key, value in section.items() if not isinstance(value, dict)}
        lines += [f"[{name}]", *settings_of({key: plain[key] for key in plain if key not in lists[name]})]
        for key, value in section.items():
            if isinstance(value, dict):
                lines += [f"[{name}.{key}]", *settings_of(value)]
        for key in lists[name]:
            for one in section.get(key, ()):
                lines += [f"[[{name}.{key}]]", *settings_of(one)]
    file = folder / "rdsproxy.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def printed(capsys: pytest.CaptureFixture[str], command: str, file: Path, *more: str) -> str:
    """Run a command of rdsproxy; give what it prints."""
    capsys.readouterr()
    assert main([command, "--config", str(file), *more]) == 0
    return capsys.readouterr().out


# -- grants ------------------------------------------------------------------------------------------------------------


def test_the_grants_are_enough_and_none_too_many(
    diagnose: Examiner, database: DatabaseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With users made by what is printed all is well; without the one grant the doctor says what is missing."""
    with TcpRelay(database.host, database.port) as relay:
        topology = {"monitor_secret": secret(tmp_path, MONITOR), "max_replica_lag": 5}
        tls = {"mode": "VERIFY_IDENTITY", "ca": str(database.ca_path)}
        readers = {"name": "readers", "listen": ["tcp:0:interface=127.0.0.1"], "target_role": "READ_ONLY"}
        targets = [target(database), {"host": relay.host, "port": relay.port}]
        config = configuration(
            [secret(tmp_path, APP)], targets, group={"topology": topology, "tls": tls}, endpoints=[readers]
        )
        sql = printed(capsys, "grants", written(tmp_path, config))
        assert "Planted-" not in sql
        for user in (APP, MONITOR):
            sql = sql.replace(f"<password of {tmp_path / user.name}.json>", f"'{user.password}'")
        statements = [line for line in sql.splitlines() if line and not line.startswith("--")]
        assert len(statements) == 3
        assert all(statement.endswith(" REQUIRE SSL;") for statement in statements[:2])
        try:
            database.execute(*statements)
            report = diagnose(config)
            # The one server is both, through the relay.
            (reader,) = report.bad()
            assert reader.found == "it is a reader, and takes writes"

            database.execute(statements[2].replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
            report = diagnose(config)
            missing = report.failures()
            assert [finding.subject.rpartition(" ")[2] for finding in missing] == [MONITOR.name] * 2
            for finding in missing:
                assert "max_replica_lag has no effect" in finding.found
                assert "REPLICATION CLIENT (MySQL) or REPLICA MONITOR (MariaDB)" in finding.remedy
            del config["target_group"]["topology"]["max_replica_lag"]
            report = diagnose(config)
            assert not report.failures()
            assert [one.level for one in report.findings if one.subject.endswith(f"monitor {MONITOR.name}")] == [
                Level.OK, Level.WARN
            ] * 2
        finally:
            database.execute(*(f"DROP USER IF EXISTS '{user.name}'@'%'" for user in (APP, MONITOR)))


def test_the_monitor_of_the_grants_is_enough_for_a_proxy(
    server: DatabaseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No privilege at all, where nobody reads from replicas."""
    config = configuration(
        [secret(tmp_path, APP)], [target(server)], group={"topology": {"monitor_secret": secret(tmp_path, MONITOR)}}
    )
    sql = printed(capsys, "grants", written(tmp_path, config))
    (statement,) = re.findall(f"^CREATE USER '{MONITOR.name}'.*;$", sql, re.MULTILINE)
    assert not re.findall("^GRANT", sql, re.MULTILINE)
    try:
        server.execute(statement.replace(f"<password of {tmp_path / MONITOR.name}.json>", f"'{MONITOR.password}'"))
        topology = {"kind": "replication", "monitor_secret": secret(tmp_path, MONITOR)}
        with Proxy(server, tmp_path, topology=topology) as proxy, proxy.connect():
            proxy.wait_for_log(lambda line: line.get("state") == "AVAILABLE")
    finally:
        server.execute(f"DROP USER IF EXISTS '{MONITOR.name}'@'%'")


def test_grants_of_what_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Placeholders that no server takes for SQL, by mistake."""
    arn = ARN.format("app")
    odd = User("o'dd\\", "Planted-Odd")
    secrets: list[Any] = [{"secret_arn": arn}, secret(tmp_path, User("odd", "x")), f"file:{tmp_path}/none.json"]
    (tmp_path / "odd.json").write_text(json.dumps({"username": odd.name, "password": odd.password}))
    config = configuration(secrets, [{"host": "db.example"}])
    sql = printed(capsys, "grants", written(tmp_path, config))
    assert f"CREATE USER <username of {arn}>@'%' IDENTIFIED BY <password of {arn}>;\n" in sql
    none = f"{tmp_path}/none.json"
    assert f"CREATE USER <username of {none}>@'%' IDENTIFIED BY <password of {none}>;\n" in sql
    assert f"CREATE USER 'o''dd\\\\'@'%' IDENTIFIED BY <password of {tmp_path}/odd.json>;\n" in sql
    assert "Planted-" not in sql


def test_grants_for_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(
        [secret(tmp_path, APP)],
        [{"host": "db.example"}],
        default_auth_scheme="IAM_AUTH",
        group={"tls": {"mode": "VERIFY_IDENTITY"}},
    )
    sql = printed(capsys, "grants", written(tmp_path, config))
    account = f"'{APP.name}'@'%'"
    assert f"CREATE USER {account} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL;\n" in sql


def test_a_bad_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.toml").write_text("[proxy]\n")
    for command in ("grants", "policy"):
        assert main([command, "--config", str(tmp_path / "bad.toml")]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("rdsproxy: proxy.endpoints: is required\n")


# -- the policy --------------------------------------------------------------------------------------------------------


def resources(policy: dict[str, Any]) -> dict[str, list[str]]:
    """Give what each action is allowed on."""
    assert policy["Version"] == "2012-10-17"
    found = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        (action,) = statement["Action"]
        found[action] = statement["Resource"]
    return found


def test_the_policy_has_the_secrets_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets: list[Any] = [{"secret_arn": ARN.format("one")}, secret(tmp_path, APP), {"secret_arn": ARN.format("two")}]
    topology = {"monitor_secret_arn": ARN.format("monitor")}
    file = written(tmp_path, configuration(secrets, [{"host": "db.example"}], group={"topology": topology}))
    arns = [ARN.format(name) for name in ("one", "two", "monitor")]
    assert resources(json.loads(printed(capsys, "policy", file))) == {"secretsmanager:GetSecretValue": arns}
    policy = json.loads(printed(capsys, "policy", file, "--kms-key", KEY))
    assert resources(policy) == {"secretsmanager:GetSecretValue": arns, "kms:Decrypt": [KEY]}
    (_, keys) = policy["Statement"]
    assert keys["Condition"] == {"StringEquals": {"kms:ViaService": ["secretsmanager.eu-west-1.amazonaws.com"]}}


def test_the_policy_has_the_access_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificates = make_certificates(tmp_path / "tls")
    own = {"certificate": str(certificates.certificate), "private_key": str(certificates.private_key)}
    iam = {"verify": "keys", "keys_arn": ARN.format("keys"), "host": "db.example", "region": "eu-west-1"}
    auth = {"secret": secret(tmp_path, APP), "iam_auth": "REQUIRED"}
    file = written(tmp_path, configuration([auth], [{"host": "db.example"}], tls=own, iam=iam))
    found = resources(json.loads(printed(capsys, "policy", file)))
    assert found == {"secretsmanager:GetSecretValue": [ARN.format("keys")]}


def test_the_policy_for_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(
        [secret(tmp_path, APP)],
        [{"host": "orders.abc123.eu-west-1.rds.amazonaws.com"}],
        default_auth_scheme="IAM_AUTH",
        group={"tls": {"mode": "VERIFY_IDENTITY"}, "topology": {"monitor_secret": secret(tmp_path, MONITOR)}},
    )
    policy = json.loads(printed(capsys, "policy", written(tmp_path, config)))
    prefix = "arn:aws:rds-db:eu-west-1:*:dbuser:*/"
    assert resources(policy) == {"rds-db:connect": [prefix + APP.name, prefix + MONITOR.name]}


@pytest.mark.parametrize(
    ("topology", "wanted"),
    [
        (
            {"cluster": "orders", "region": "cn-north-1"},
            {
                "rds:DescribeDBClusters": ["arn:aws-cn:rds:cn-north-1:*:cluster:orders"],
                "rds:DescribeDBInstances": ["arn:aws-cn:rds:cn-north-1:*:db:*"],
            },
        ),
        ({"instance": "orders-1"}, {"rds:DescribeDBInstances": ["arn:aws:rds:*:*:db:orders-1"]}),
    ],
)
def test_the_policy_for_the_rds_api(
    topology: dict[str, str], wanted: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configuration([secret(tmp_path, APP)], [], group={"topology": {"kind": "aws", **topology}})
    assert resources(json.loads(printed(capsys, "policy", written(tmp_path, config)))) == wanted


def test_no_policy_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, configuration([secret(tmp_path, APP)], [{"host": "db.example"}]))
    assert main(["policy", "--config", str(file)]) == 0
    assert capsys.readouterr() == ("", "rdsproxy: this configuration needs nothing of AWS\n")
