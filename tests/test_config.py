"""The configuration: what is read, and what is refused with which words."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rdsproxy.config import (
    AuthSettings,
    Config,
    ConfigError,
    EndpointSettings,
    ProxySettings,
    TargetGroupSettings,
    TargetSettings,
    from_dict,
    load,
)

FULL = """
[proxy]
name = "orders"
require_tls = false
idle_client_timeout = 900
handshake_timeout = 2.5
max_client_connections = 10000
debug_logging = false
init_query = "SET time_zone = 'UTC'"
[proxy.tls]
certificate = "server.pem"
private_key = "/etc/keys/server.key"
[[proxy.endpoints]]
name = "default"
listen = ["tcp:3306:interface=127.0.0.1", "unix:/run/rdsproxy/mysql.sock"]
target_role = "READ_WRITE"
[[proxy.auth]]
secret = "file:secrets/app.json"
iam_auth = "DISABLED"
client_password_auth_type = "MYSQL_CACHING_SHA2_PASSWORD"
[[proxy.auth]]
secret = "file:/secrets/old.json"
client_password_auth_type = "MYSQL_NATIVE_PASSWORD"
[target_group]
max_connections_percent = 90
max_connections = 20
max_idle_connections_percent = 50
connection_borrow_timeout = 0
session_pinning_filters = []
[target_group.tls]
mode = "VERIFY_CA"
ca = "ca.pem"
[[target_group.targets]]
host = "10.0.0.5"
port = 3307
[target_group.topology]
kind = "static"
[admin]
listen = "tcp:8404:interface=127.0.0.1"
"""

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf"

MINIMAL: dict[str, Any] = {
    "proxy": {"endpoints": [{"listen": ["tcp:3306"]}], "auth": [{"secret": "file:app.json"}]},
    "target_group": {"targets": [{"host": "db"}]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """``MINIMAL`` with *value* at *path*, such as ``proxy.auth.0.secret``; what is missing on the way is made."""
    data: Any = deepcopy(MINIMAL)
    *way, last = path.split(".")
    here = data
    for part in way:
        here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
    here[last] = value
    assert isinstance(data, dict)
    return data


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_dict(data)
    return str(caught.value)


def test_every_key_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rdsproxy.toml"
    file.write_text(FULL)
    config = load(file)
    assert config.proxy.name == "orders"
    assert (config.proxy.idle_client_timeout, config.proxy.handshake_timeout) == (900, 2.5)
    assert config.proxy.init_query == "SET time_zone = 'UTC'"
    assert config.proxy.tls is not None
    assert config.proxy.endpoints[0].listen[1] == "unix:/run/rdsproxy/mysql.sock"
    assert [auth.client_plugin for auth in config.proxy.auth] == ["caching_sha2_password", "mysql_native_password"]
    group = config.target_group
    assert (group.max_connections_percent, group.max_connections, group.connection_borrow_timeout) == (90, 20, 0)
    assert group.tls.mode == "VERIFY_CA"
    assert (group.targets[0].host, group.targets[0].port) == ("10.0.0.5", 3307)
    assert config.admin is not None
    assert config.admin.listen == "tcp:8404:interface=127.0.0.1"


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "rdsproxy.toml").write_text(FULL)
    monkeypatch.chdir(tmp_path)
    config = load("etc/rdsproxy.toml")
    monkeypatch.chdir("/")
    assert config.proxy.tls is not None
    assert config.proxy.tls.certificate == folder / "server.pem"
    assert config.proxy.tls.private_key == Path("/etc/keys/server.key")
    assert config.target_group.tls.ca == folder / "ca.pem"
    assert config.proxy.auth[0].secret == f"file:{folder}/secrets/app.json"
    assert config.proxy.auth[1].secret == "file:/secrets/old.json"


def test_what_is_left_out_has_the_values_of_rds_proxy() -> None:
    config = from_dict(MINIMAL)
    proxy, group = config.proxy, config.target_group
    assert proxy.tls is None
    assert not proxy.require_tls
    assert (proxy.idle_client_timeout, proxy.handshake_timeout) == (1800, 10)
    assert proxy.max_client_connections == 10000
    assert (group.max_connections_percent, group.max_connections) == (100, None)
    assert (group.max_idle_connections_percent, group.connection_borrow_timeout) == (50, 120)
    assert (group.tls.mode, group.targets[0].port, group.topology.kind) == ("PREFERRED", 3306, "static")


def test_idle_connections_are_half_of_the_share_by_default() -> None:
    assert (
        from_dict(changed("target_group.max_connections_percent", 31)).target_group.max_idle_connections_percent == 15
    )


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("proxy.nme", "x", "unknown key; did you mean name?"),
        ("proxy.qqqq", "x", "unknown key"),
        ("proxy.idle_client_timeout", 0.5, "should be greater than or equal to 1, not 0.5"),
        ("proxy.idle_client_timeout", 28801, "should be less than or equal to 28800, not 28801"),
        ("proxy.idle_client_timeout", "1800", "should be a valid number, not '1800'"),
        ("proxy.idle_client_timeout", float("nan"), "should be a finite number, not nan"),
        ("proxy.handshake_timeout", 0, "should be greater than 0, not 0"),
        ("proxy.max_client_connections", 0, "should be greater than or equal to 1, not 0"),
        ("proxy.max_client_connections", True, "should be a valid integer, not True"),
        ("proxy.require_tls", 1, "should be a valid boolean, not 1"),
        ("proxy.require_tls", True, "needs [proxy.tls], or no client could connect"),
        ("proxy.endpoints", [], "needs at least one"),
        ("proxy.endpoints.0.listen", [], "needs at least one"),
        ("proxy.endpoints.0.target_role", "WRITER", "should be 'READ_WRITE' or 'READ_ONLY', not 'WRITER'"),
        ("proxy.auth", [], "needs at least one"),
        *(
            (
                "proxy.auth.0.secret",
                value,
                'must be "file:" and the path of a JSON file, or "env:" and the name of a variable that has JSON',
            )
            for value in ("app.json", "file:", "env:", "vault:app")
        ),
        *(
            (
                "proxy.auth.0.secret_arn",
                value,
                "must be the ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME",
            )
            for value in ("app", ARN.replace("secretsmanager", "rds"), ARN.replace("123456789012", "12"))
        ),
        ("proxy.secrets.refresh_interval", 0.5, "should be greater than or equal to 1, not 0.5"),
        ("proxy.secrets.max_age", 60, "must be more than refresh_interval, 60, not 60"),
        ("proxy.secrets.previous_grace", -1, "should be greater than or equal to 0, not -1"),
        ("proxy.auth.0.iam_auth", "ENABLED", "should be 'DISABLED' or 'REQUIRED', not 'ENABLED'"),
        (
            "proxy.auth.0.client_password_auth_type",
            "CLEAR",
            "should be 'MYSQL_CACHING_SHA2_PASSWORD' or 'MYSQL_NATIVE_PASSWORD', not 'CLEAR'",
        ),
        ("target_group.max_connections_percent", 0, "should be greater than or equal to 1, not 0"),
        ("target_group.max_connections_percent", 101, "should be less than or equal to 100, not 101"),
        ("target_group.max_connections", 0, "should be greater than or equal to 1, not 0"),
        ("target_group.max_idle_connections_percent", -1, "should be greater than or equal to 0, not -1"),
        ("target_group.connection_borrow_timeout", 301, "should be less than or equal to 300, not 301"),
        ("target_group.connection_borrow_timeout", -1, "should be greater than or equal to 0, not -1"),
        ("target_group.session_pinning_filters", ["X"], "unknown filter"),
        (
            "target_group.tls.mode",
            "SOMETIMES",
            "should be 'DISABLED', 'PREFERRED', 'REQUIRED', 'VERIFY_CA' or 'VERIFY_IDENTITY', not 'SOMETIMES'",
        ),
        (
            "target_group.tls.ca",
            "ca.pem",
            "has no effect in mode PREFERRED; it needs VERIFY_CA or VERIFY_IDENTITY",
        ),
        ("target_group.targets", [], "needs at least one"),
        ("target_group.targets", [{"host": "a"}, {"host": "a"}], "a:3306 is there twice"),
        (
            "target_group.targets",
            [{"host": "a", "role": "READ_WRITE"}, {"host": "b", "role": "READ_WRITE"}],
            "only one target may have the role READ_WRITE",
        ),
        ("target_group.targets.0.host", "", "must be a host name or an address"),
        ("target_group.targets.0.port", 0, "should be greater than or equal to 1, not 0"),
        ("target_group.targets.0.port", 65536, "should be less than or equal to 65535, not 65536"),
        (
            "target_group.topology.kind",
            "magic",
            "should be 'static', 'replication', 'dns', 'aurora' or 'aws', not 'magic'",
        ),
        ("target_group.topology.cluster", "orders", "has no effect without kind 'aws'"),
        ("target_group.topology.instance", "orders", "has no effect without kind 'aws'"),
        ("target_group.topology.region", "eu-west-1", "has no effect without kind 'aws'"),
        ("target_group.topology", {"dns_servers": ["::1"]}, "dns_servers has no effect without kind 'dns' or 'aws'"),
        ("target_group.topology", {"kind": "aws"}, "kind 'aws' needs either cluster or instance"),
        (
            "target_group.topology",
            {"kind": "aws", "cluster": "a", "instance": "b"},
            "kind 'aws' needs either cluster or instance",
        ),
        ("target_group.topology.host_pattern", "{server_id}", "has no effect without kind 'aurora'"),
        ("admin.listen", "tcp:70000", "a TCP port is at most 65535, not 70000"),
        ("admin.listen", ["tcp:8404"], "should be a valid string"),
        ("proxy", 3, "should be a table, not 3"),
        ("proxy.endpoints", 3, "should be an array, not 3"),
    ],
)
def test_a_bad_value_is_refused_with_its_path_and_the_reason(path: str, value: Any, reason: str) -> None:
    where = path.replace(".0", "[0]")
    assert refusal(changed(path, value)) == f"{where}: {reason}"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "db", "10.0.0.0/33"])
def test_what_is_not_a_network(network: str) -> None:
    """Host bits too: they are more likely a mistake in the length than meant."""
    reason = refusal(changed("proxy.endpoints.0.allow_cidrs", ["10.0.0.0/8", network]))
    assert reason.startswith("proxy.endpoints[0].allow_cidrs[1]: must be a network such as 10.0.0.0/16: ")


def test_a_user_has_one_secret() -> None:
    for auth in ({}, {"secret": "file:app.json", "secret_arn": ARN}):
        assert refusal(changed("proxy.auth", [auth])) == "proxy.auth[0]: needs either secret or secret_arn"
    data = changed("proxy.auth", [{"secret_arn": ARN}, {"secret": "env:APP"}])
    assert [(auth.secret, auth.secret_arn) for auth in from_dict(data).proxy.auth] == [(None, ARN), ("env:APP", None)]


def test_the_monitor_has_one_secret_or_none() -> None:
    both = {"monitor_secret": "file:m.json", "monitor_secret_arn": ARN}
    reason = "target_group.topology.monitor_secret_arn: cannot stand beside monitor_secret"
    assert refusal(changed("target_group.topology", both)) == reason
    assert from_dict(MINIMAL).target_group.topology.monitor is None
    by_arn = from_dict(changed("target_group.topology.monitor_secret_arn", ARN)).target_group.topology
    assert by_arn.monitor == AuthSettings(secret_arn=ARN)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (None, "is required by kind 'aurora'"),
        *(
            (
                pattern,
                "must have {server_id} in it, once, as in {server_id}.abc123.eu-west-1.rds.amazonaws.com",
            )
            for pattern in ("db.example", "{server_id}.{server_id}", "{server_id}.{region}.example")
        ),
        ("{server_id}.db example", "must be a host name or an address"),
    ],
)
def test_aurora_needs_a_pattern_for_hosts(pattern: str | None, reason: str) -> None:
    topology = {"kind": "aurora"} if pattern is None else {"kind": "aurora", "host_pattern": pattern}
    assert refusal(changed("target_group.topology", topology)) == f"target_group.topology.host_pattern: {reason}"


def test_aurora_takes_one_target_without_a_role() -> None:
    topology = {"kind": "aurora", "host_pattern": "{server_id}.example"}
    data = changed("target_group.topology", topology)
    assert from_dict(data).target_group.topology.host_pattern == "{server_id}.example"
    data["target_group"]["targets"] = [{"host": "a"}, {"host": "b"}]
    assert refusal(data).endswith("kind 'aurora' takes one target, the cluster's endpoint")
    data["target_group"]["targets"] = [{"host": "a", "role": "READ_WRITE"}]
    assert "finds out the roles itself" in refusal(data)


def test_aws_takes_no_targets() -> None:
    data = changed("target_group.topology", {"kind": "aws", "cluster": "orders"})
    assert refusal(data) == "target_group.targets: kind 'aws' finds out the targets itself: leave them out"
    del data["target_group"]["targets"]
    assert from_dict(data).target_group.targets == ()


def test_all_others_need_a_target() -> None:
    data = changed("target_group.topology", {"kind": "replication"})
    del data["target_group"]["targets"]
    assert refusal(data) == "target_group.targets: needs at least one"


def test_a_half_of_tls_is_refused() -> None:
    assert refusal(changed("proxy.tls", {"certificate": 3})).splitlines() == [
        "proxy.tls.certificate: should be a path, not 3",
        "proxy.tls.private_key: is required",
    ]


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("3306", "Unknown endpoint type: '3306'"),
        ("tcp:mysql", "not a number: 'mysql'"),
        ("tcp", "missing 1 required positional argument: 'port'"),
        ("tcp:3306:interfac=::1", "got an unexpected keyword argument 'interfac'"),
        ("unix:/run/x:mode=9", "not a number: '9'"),
    ],
)
def test_an_endpoint_that_twisted_cannot_parse_is_refused(listen: str, reason: str) -> None:
    line = refusal(changed("proxy.endpoints.0.listen", ["tcp:3306", listen]))
    assert line == (f"proxy.endpoints[0].listen[1]: not an endpoint such as tcp:3306:interface=127.0.0.1: {reason}")


def test_a_port_beyond_the_last_one_is_refused() -> None:
    line = refusal(changed("proxy.endpoints.0.listen", ["tcp:70000"]))
    assert line == "proxy.endpoints[0].listen[0]: a TCP port is at most 65535, not 70000"


def test_an_admin_endpoint_is_any_of_twisteds(tmp_path: Path) -> None:
    missing = tmp_path / "admin.pem"
    assert refusal(changed("admin.listen", f"ssl:8404:privateKey={missing}:certKey={missing}")) == (
        "admin.listen: not an endpoint such as tcp:3306:interface=127.0.0.1: "
        f"[Errno 2] No such file or directory: '{missing}'"
    )
    for listen in ("tcp6:8404", "unix:/run/rdsproxy/admin.sock:mode=660", "systemd:domain=INET:name=admin"):
        admin = from_dict(changed("admin.listen", listen)).admin
        assert admin is not None
        assert admin.listen == listen


def test_sockets_of_systemd_are_not_looked_for_before_the_start() -> None:
    listen = ["systemd:domain=INET:index=0", "systemd:domain=INET:name=mysql", "haproxy:unix:/run/mysql.sock"]
    assert list(from_dict(changed("proxy.endpoints.0.listen", listen)).proxy.endpoints[0].listen) == listen


def test_balancers_have_to_be_listed() -> None:
    """Whoever connects to such a port can pass for any client: not to say who may is refused."""
    for listen in (["haproxy:tcp:3306"], ["tcp:1", "haproxy:tcp6:3306"], ["haproxy:systemd:domain=INET:index=0"]):
        data = changed("proxy.endpoints.0.listen", listen)
        assert refusal(data).startswith("proxy.endpoints[0].allow_cidrs: is required with haproxy: whoever may connect")
        data["proxy"]["endpoints"][0]["allow_cidrs"] = ["0.0.0.0/0", "::/0"]
        assert from_dict(data).proxy.endpoints[0].allow_cidrs == ("0.0.0.0/0", "::/0")
    for path in ("haproxy:unix:/run/mysql.sock", "haproxy:systemd:domain=UNIX:index=0"):
        assert from_dict(changed("proxy.endpoints.0.listen", [path])).proxy.endpoints[0].allow_cidrs == ()


def test_two_endpoints_of_one_name_are_refused() -> None:
    endpoints = [{"name": "a", "listen": ["tcp:1"]}, {"name": "a", "listen": ["tcp:2"]}]
    assert refusal(changed("proxy.endpoints", endpoints)) == "proxy.endpoints: two endpoints have the name 'a'"


def test_more_idle_connections_than_connections_are_refused() -> None:
    data = changed("target_group.max_connections_percent", 30)
    data["target_group"]["max_idle_connections_percent"] = 31
    assert refusal(data) == (
        "target_group.max_idle_connections_percent: must be at most max_connections_percent, 30, not 31"
    )


def test_all_problems_are_told_at_once_a_line_each() -> None:
    data = changed("target_group.max_connections_percent", 0)
    data["proxy"]["endpoints"] = [{"listen": ["tcp:x"], "target_role": "READ_ONLY"}, {}]
    del data["target_group"]["targets"]
    assert [line.split(":")[0] for line in refusal(data).splitlines()] == [
        "proxy.endpoints[0].listen[0]",
        "proxy.endpoints[1].listen",
        "target_group.max_connections_percent",
        "target_group.targets",
    ]


def test_what_may_be_secret_is_not_repeated() -> None:
    data = changed("proxy.auth.0.secret", "hunter2")
    data["proxy"]["init_query"] = ["hunter2"]
    assert "hunter2" not in refusal(data)
    assert "hunter2" not in repr(from_dict(changed("proxy.init_query", "SET @key = 'hunter2'")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[proxy]\nname = \n", "not TOML: Invalid value (at line 2, column 8)"),
        (b"[proxy]\nname = '\xff'\n", "not UTF-8 text"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "rdsproxy.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: {reason}"


def test_an_embedding_application_makes_one_in_python() -> None:
    config = Config(
        proxy=ProxySettings(
            endpoints=(EndpointSettings(listen=("tcp:0:interface=127.0.0.1",)),),
            auth=(AuthSettings(secret="file:app.json"),),
        ),
        target_group=TargetGroupSettings(targets=(TargetSettings(host="db"),), max_connections=4),
    )
    assert config.proxy.auth[0].secret == "file:app.json"
    assert Config.model_validate(MINIMAL).target_group.targets[0].host == "db"
    with pytest.raises(ValidationError):
        TargetSettings(host="db", port=0)


def test_a_configuration_does_not_change() -> None:
    config = from_dict(MINIMAL)
    with pytest.raises(ValidationError):
        config.proxy.__setattr__("name", "other")
    assert hash(config) == hash(from_dict(MINIMAL))


def test_reading_one_leaves_the_choice_of_the_reactor_open() -> None:
    code = (
        "import sys; from rdsproxy.config import Config;"
        "Config.quick(target='db:3306', listen=['tcp:3306'], secret='file:x');"
        "sys.exit('twisted.internet.reactor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_quick_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config.quick(target="[::1]:3307", listen=["tcp:1", "tcp:2"], secret="file:app.json")
    assert (config.target_group.targets[0].host, config.target_group.targets[0].port) == ("::1", 3307)
    assert config.proxy.endpoints[0].listen == ("tcp:1", "tcp:2")
    assert config.proxy.auth[0].secret == f"file:{tmp_path}/app.json"


def test_the_quick_form_names_its_options() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.quick(target="db:0", listen=["x"], secret="app.json")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["--listen", "--secret", "--target"]
    with pytest.raises(ConfigError, match="--target: must be HOST:PORT, not 'db'"):
        Config.quick(target="db", listen=["tcp:1"], secret="file:app.json")


def test_certificates_of_clients() -> None:
    data = changed("proxy.auth.0.require_subject", "CN=orders")
    needs = "proxy.auth: require_x509 and require_subject need ssl_ca in [proxy.tls]"
    assert refusal(data) == refusal(changed("proxy.auth.0.require_x509", True)) == needs
    data["proxy"]["tls"] = {"certificate": "server.pem", "private_key": "server.key"}
    assert refusal(data) == needs
    data["proxy"]["tls"]["ssl_ca"] = "clients.pem"
    data["proxy"]["auth"][0]["require_subject"] = "CN=orders,O=Big\\, Bad Inc"
    assert from_dict(data).proxy.auth[0].subject == "CN=orders,O=Big\\, Bad Inc"
    for wrong in ("/CN=orders", ""):
        data["proxy"]["auth"][0]["require_subject"] = wrong
        assert refusal(data) == (
            "proxy.auth[0].require_subject: must be the subject of a certificate as RFC 4514 writes it, "
            "such as CN=app,O=Orders"
        )


def test_which_certificates_a_user_needs() -> None:
    for settings, subject in (({}, None), ({"require_x509": True}, ""), ({"require_subject": "CN=a"}, "CN=a")):
        assert AuthSettings(secret="file:x", **settings).subject == subject
