"""What can be wrong between the proxy and AWS: the API of moto's server, and what boto3 makes of the environment."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from rdsproxy.doctor.finding import Level
from tests.credentials.secrets_manager import REGION, SecretsManager
from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret, target
from tests.iam.database import TokenDatabase
from tests.servers import Certificates, MariaDB

MISSING = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"


def managed(mariadb: MariaDB, *arns: str) -> dict[str, Any]:
    """Give a configuration of these secrets."""
    return configuration([{"secret_arn": arn} for arn in arns], [target(mariadb)])


def app(mariadb: MariaDB) -> dict[str, str]:
    return {"username": mariadb.user.name, "password": mariadb.user.password}


def test_secrets(diagnose: Examiner, mariadb: MariaDB, manager: SecretsManager) -> None:
    with manager.running():
        good = manager.create("app", app(mariadb))
        binary = manager.create("binary", b"Planted-")
        broken = manager.create("broken", "{Planted-")
        report = diagnose(managed(mariadb, good, binary, broken, MISSING))
    assert report.of(good).found == "user app"
    assert report.of("user app").level is Level.OK
    assert report.of(binary).found.startswith("is binary")
    assert report.of(broken).remedy.startswith("it must be JSON text")
    assert "ResourceNotFoundException" in report.of(MISSING).found
    assert report.of(MISSING).remedy.startswith("correct the ARN")
    assert len(report.failures()) == 3
    assert "Planted-" not in str(report)


def test_nobody_answers(diagnose: Examiner, mariadb: MariaDB, manager: SecretsManager) -> None:
    failure = diagnose(managed(mariadb, MISSING)).of(f"secret {MISSING}")
    assert failure.level is Level.FAIL
    assert "Could not connect to the endpoint" in failure.found
    assert failure.remedy.startswith("lead this machine to AWS")


def test_no_credentials(
    diagnose: Examiner, mariadb: MariaDB, manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with manager.running():
        failure = diagnose(managed(mariadb, MISSING)).of(f"secret {MISSING}")
        assert failure.found == "Unable to locate credentials"
        assert failure.remedy.startswith("give the proxy AWS credentials")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        failure = diagnose(managed(mariadb, MISSING)).of(f"secret {MISSING}")
        assert failure.found == "The config profile (nobody) could not be found"
        assert failure.remedy.startswith("give the proxy AWS credentials")


@contextmanager
def policies_count(manager: SecretsManager, allowed: str) -> Iterator[tuple[str, str]]:
    """Have the API ask what a user may do; give an access key of one who may do `allowed`."""
    iam = boto3.session.Session().client("iam", region_name=REGION)
    iam.create_user(UserName="proxy")
    statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="proxy", PolicyName="some", PolicyDocument=document)
    key = iam.create_access_key(UserName="proxy")["AccessKey"]
    _without_policies(manager, 0)
    try:
        yield key["AccessKeyId"], key["SecretAccessKey"]
    finally:
        _without_policies(manager, 10**9)


def _without_policies(manager: SecretsManager, count: int) -> None:
    """Tell moto how many requests to answer before policies count."""
    url, headers = f"{manager.url}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, str(count).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def test_a_policy_that_does_not_allow_it(
    diagnose: Examiner, mariadb: MariaDB, manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager.running():
        arn = manager.create("app", app(mariadb))
        with policies_count(manager, "rds:*") as (name, key):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)
            failure = diagnose(managed(mariadb, arn)).of(f"secret {arn}")
            assert "AccessDenied" in failure.found
            assert failure.remedy.startswith(f"allow secretsmanager:GetSecretValue on {arn}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7UNKNOWN")
            failure = diagnose(managed(mariadb, arn)).of(f"secret {arn}")
            assert failure.remedy.startswith("AWS does not know these credentials")


def test_the_rds_api(
    diagnose: Examiner, mariadb: MariaDB, manager: SecretsManager, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configuration(
        [secret(tmp_path, mariadb.user)], [], group={"topology": {"kind": "aws", "instance": "orders-1"}}
    )
    with manager.running():
        failure = diagnose(config).of("RDS API, orders-1")
        assert failure.found == "You must specify a region."
        assert failure.remedy.startswith("set AWS_REGION")
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        failure = diagnose(config).of("RDS API, orders-1")
        assert "DBInstanceNotFound" in failure.found
        assert failure.remedy == "correct cluster, instance or region"
        with policies_count(manager, "secretsmanager:*") as (name, key):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)
            failure = diagnose(config).of("RDS API, orders-1")
            assert "rds:DescribeDBInstances" in failure.remedy


def test_tokens_for_the_database(
    diagnose: Examiner,
    mariadb: MariaDB,
    certificates: Certificates,
    manager: SecretsManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = {mariadb.user.name: mariadb.user.password}
    with TokenDatabase(mariadb, certificates, passwords) as database:
        config = configuration(
            [secret(tmp_path, mariadb.user)],
            [{"host": "127.0.0.1", "port": database.port}],
            default_auth_scheme="IAM_AUTH",
            group={"tls": {"mode": "VERIFY_IDENTITY", "ca": str(certificates.ca)}},
        )
        (failure, *_) = diagnose(config).failures()
        assert failure.subject == "IAM token for the database"
        assert "You must specify a region" in failure.found
        assert failure.remedy.startswith("set AWS_REGION")
        assert not database.shown
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        report = diagnose(config)
        assert not report.failures()
        assert report.of("user app").level is Level.OK
        assert report.of("TLS").level is Level.OK
        assert all(token.startswith(b"127.0.0.1:") for _, token in database.shown)
        assert "X-Amz" not in str(report)
        passwords[mariadb.user.name] = "Planted-Refused"
        (failure, *_) = diagnose(config).failures()
        assert "1045" in failure.found
        assert failure.remedy.startswith("create the user with AWSAuthenticationPlugin")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        (failure, *_) = diagnose(config).failures()
        assert failure.remedy.startswith("give the proxy AWS credentials")
