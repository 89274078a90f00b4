"""What a configuration must say before clients may log in by tokens."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from rdsproxy.config import ConfigError, from_dict
from rdsproxy.credentials import SecretError
from rdsproxy.errors import StartError
from rdsproxy.iam.building import check_tokens

GOOD: dict[str, Any] = {
    "proxy": {
        "tls": {"certificate": "server.pem", "private_key": "server.key"},
        "iam": {"verify": "keys", "keys": "file:keys.json", "host": "proxy.example.com", "region": "eu-west-1"},
        "endpoints": [{"listen": ["tcp:3306"]}],
        "auth": [{"secret": "file:app.json", "iam_auth": "REQUIRED"}],
    },
    "target_group": {"targets": [{"host": "10.0.0.5"}]},
}


def problem(config: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_dict(config)
    return str(caught.value)


def test_a_user_with_tokens() -> None:
    assert from_dict(GOOD).proxy.auth[0].client_plugin == "mysql_clear_password"


@pytest.mark.parametrize("section", ["iam", "tls"])
def test_what_tokens_need(section: str) -> None:
    config = copy.deepcopy(GOOD)
    del config["proxy"][section]
    assert problem(config) == f"proxy.auth: iam_auth REQUIRED needs [proxy.{section}]"


def test_for_nobody() -> None:
    config = copy.deepcopy(GOOD)
    del config["proxy"]["auth"][0]["iam_auth"]
    assert problem(config) == "proxy.auth: [proxy.iam] has no effect without iam_auth REQUIRED"


def test_keys_are_not_quoted() -> None:
    config = copy.deepcopy(GOOD)
    config["proxy"]["iam"]["keys"] = "Planted-key"
    assert "Planted" not in problem(config)


def test_keys_that_are_not_there(tmp_path: Path) -> None:
    iam = from_dict(GOOD, folder=tmp_path).proxy.iam
    assert iam is not None
    with pytest.raises(SecretError, match=r"keys.json: No such file"):
        check_tokens(iam)


STS = {
    "verify": "sts",
    "host": "proxy.example.com",
    "region": "eu-west-1",
    "principals": [{"arn": "arn:aws:iam::123456789012:role/orders", "users": ["app"]}],
}


def test_each_way_has_what_it_needs() -> None:
    config = copy.deepcopy(GOOD)
    config["target_group"]["tls"] = {"mode": "VERIFY_IDENTITY"}
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keys-AbCdEf"
    keys = {**GOOD["proxy"]["iam"], "keys_arn": arn}
    del keys["keys"]
    for iam in (keys, STS, {"verify": "database"}, {"verify": "database", "host": "cluster.example.com"}):
        config["proxy"]["iam"] = iam
        from_dict(config)


@pytest.mark.parametrize(
    ("iam", "said"),
    [
        ({"verify": "keys", "keys": "file:keys.json", "region": "eu-west-1"}, "verify 'keys' needs host"),
        ({"verify": "keys", "host": "proxy", "region": "eu-west-1"}, "needs either keys or keys_arn"),
        ({**GOOD["proxy"]["iam"], "keys_arn": "Planted-1"}, "must be the ARN of a secret"),
        ({**GOOD["proxy"]["iam"], "principals": STS["principals"]}, "principals has no effect with verify 'keys'"),
        ({**STS, "principals": []}, "verify 'sts' needs principals"),
        ({**STS, "keys": "file:keys.json"}, "keys has no effect with verify 'sts'"),
        ({**STS, "verify": "database"}, "region has no effect with verify 'database'"),
        ({**STS, "reuse": "NEVER"}, "'ALLOWED', 'SAME_ADDRESS' or 'REFUSED'"),
    ],
)
def test_what_is_missing_or_too_much(iam: dict[str, Any], said: str) -> None:
    config = copy.deepcopy(GOOD)
    config["target_group"]["tls"] = {"mode": "VERIFY_IDENTITY"}
    config["proxy"]["iam"] = iam
    text = problem(config)
    assert text.startswith("proxy.iam")
    assert said in text
    assert "Planted" not in text


@pytest.mark.parametrize(
    ("arn", "good"),
    [
        ("arn:aws:iam::123456789012:role/orders", True),
        ("arn:aws:iam::123456789012:role/team/orders", True),
        ("arn:aws-cn:iam::123456789012:user/batch", True),
        ("arn:aws:iam::123456789012:root", True),
        ("arn:aws:sts::123456789012:federated-user/batch", True),
        ("arn:aws:sts::123456789012:assumed-role/orders/pod-1", False),
        ("arn:aws:iam::123456789012:role/*", False),
        ("arn:aws:iam::*:role/orders", False),
        ("arn:aws:iam::123456789012:role/", False),
        ("orders", False),
    ],
)
def test_arns_of_principals(arn: str, good: bool) -> None:
    config = copy.deepcopy(GOOD)
    config["proxy"]["iam"] = {**STS, "principals": [{"arn": arn, "users": ["app"]}]}
    if good:
        from_dict(config)
    else:
        assert problem(config).startswith("proxy.iam.principals[0].arn: must be the ARN of a role or a user")


@pytest.mark.parametrize("mode", ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA"])
def test_no_tokens_of_clients_for_a_database_that_is_not_verified(mode: str) -> None:
    config = copy.deepcopy(GOOD)
    config["proxy"]["iam"] = {"verify": "database"}
    config["target_group"]["tls"] = {"mode": mode}
    assert problem(config) == "proxy.iam.verify: 'database' needs target_group.tls.mode VERIFY_IDENTITY"


def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = copy.deepcopy(GOOD)
    config["proxy"]["iam"] = STS
    iam = from_dict(config).proxy.iam
    assert iam is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "localhost:4566")
    with pytest.raises(StartError, match="AWS_ENDPOINT_URL_STS: must be http"):
        check_tokens(iam)


@pytest.mark.parametrize("mode", ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA"])
def test_no_tokens_for_a_database_that_is_not_verified(mode: str) -> None:
    config = copy.deepcopy(GOOD)
    config["proxy"]["default_auth_scheme"] = "IAM_AUTH"
    config["target_group"]["tls"] = {"mode": mode}
    assert "IAM_AUTH needs target_group.tls.mode VERIFY_IDENTITY" in problem(config)
    config["target_group"]["tls"] = {"mode": "VERIFY_IDENTITY"}
    from_dict(config)
