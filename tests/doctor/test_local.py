"""What can be wrong on the proxy's own machine: secrets, certificates, ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rdsproxy.doctor.finding import Level
from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret, target
from tests.iam.sts import STS
from tests.servers import MariaDB, User, free_port, make_certificates

OTHER = User("doctor_other", "Planted-Other-1")


def test_secrets(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what is wrong with it, and nothing of what is in it; those that can be used are."""
    good = secret(tmp_path, mariadb.user)
    bad = {
        "none.json": ("No such file or directory", "write it, or correct the path"),
        "broken.json": ("not JSON (line 1 column 2)", "it must be JSON text such as"),
        "keys.json": ('has no "password"', "it must be JSON text such as"),
        "twice.json": ("it has the same username as", "take one of the two out of the file"),
    }
    (tmp_path / "broken.json").write_text("{Planted-")
    (tmp_path / "keys.json").write_text('{"username": "app", "pass": "Planted-"}')
    (tmp_path / "twice.json").write_text('{"username": "app", "password": "Planted-"}')
    for name in ("twice.json",):
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("DOCTOR_SECRET", '["Planted-"]')
    secrets = [good, *(f"file:{tmp_path / name}" for name in bad), "env:DOCTOR_SECRET", "env:DOCTOR_NONE"]
    report = diagnose(configuration(secrets, [target(mariadb)]))
    for name, (found, remedy) in bad.items():
        (failure,) = (one for one in report.failures() if one.subject == f"secret {tmp_path / name}")
        assert failure.found.startswith(found)
        assert failure.remedy.startswith(remedy)
    assert report.of("env:DOCTOR_SECRET").found == "must be a JSON object with username and password"
    assert report.of("env:DOCTOR_NONE").remedy == "set it where the proxy is started, or correct its name"
    assert len(report.failures()) == len(bad) + 2
    assert report.of("user app").level is Level.OK
    assert "Planted-" not in str(report)


def test_who_may_read_secrets_and_keys(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls", days=10)
    own = {"certificate": str(certificates.certificate), "private_key": str(certificates.private_key)}
    config = configuration([secret(tmp_path, mariadb.user)], [target(mariadb)], tls=own)
    report = diagnose(config)
    soon = report.of(str(certificates.certificate))
    assert soon.level is Level.WARN
    assert soon.found.startswith("it expires on ")
    assert not [one for one in report.bad() if "everyone" in one.found]
    for path in (tmp_path / "app.json", certificates.private_key):
        path.chmod(0o644)
        report = diagnose(config)
        (warning,) = (one for one in report.bad() if "everyone" in one.found)
        assert warning.subject.endswith(str(path))
        assert warning.found.endswith("mode 0644")
        assert warning.remedy.startswith(f"chmod 0600 {path}")
        path.chmod(0o600)


def test_access_keys(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    own = {"certificate": str(certificates.certificate), "private_key": str(certificates.private_key)}
    file = tmp_path / "access-keys.json"
    iam = {"verify": "keys", "keys": f"file:{file}", "host": "db.example.com", "region": "eu-west-1"}
    auth = {"secret": secret(tmp_path, mariadb.user), "iam_auth": "REQUIRED"}
    config = configuration([auth], [target(mariadb)], tls=own, iam=iam)
    assert diagnose(config).of(f"access keys {file}").remedy == "write it, or correct the path"
    file.touch(0o600)
    file.write_text('{"AKIAPLANTED": "Planted-"}')
    report = diagnose(config)
    assert report.of(f"access keys {file}").found.startswith("each access key must have secret_access_key")
    assert report.of(f"access keys {file}").remedy.startswith("it must be JSON text such as")
    assert "Planted-" not in str(report)
    file.write_text('{"AKIAPLANTED": {"secret_access_key": "Planted-", "users": ["app"]}}')
    report = diagnose(config)
    assert report.of(f"access keys {file}").found == "1 can be used"
    assert "Planted-" not in str(report)


def test_sts(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = make_certificates(tmp_path / "tls")
    own = {"certificate": str(certificates.certificate), "private_key": str(certificates.private_key)}
    principal = {"arn": "arn:aws:iam::123456789012:role/orders", "users": ["app"]}
    iam = {"verify": "sts", "host": "db.example.com", "region": "eu-west-1", "principals": [principal]}
    auth = {"secret": secret(tmp_path, mariadb.user), "iam_auth": "REQUIRED"}
    config = configuration([auth], [target(mariadb)], tls=own, iam=iam)
    subject = "STS sts.eu-west-1.amazonaws.com"
    with STS() as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        assert diagnose(config).of(subject).found == f"{sts.url} answers in its place"
    failure = diagnose(config).of(subject)
    assert failure.level is Level.FAIL
    assert failure.found.startswith("STS does not answer")


def test_a_certificate_and_another_key(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    certificates, other = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "other")
    own = {"certificate": str(certificates.certificate), "private_key": str(other.private_key)}
    report = diagnose(configuration([secret(tmp_path, mariadb.user)], [target(mariadb)], tls=own))
    (failure,) = report.failures()
    assert "not the key of the certificate" in failure.found
    assert failure.remedy.startswith("correct [proxy.tls]")


def test_authorities_that_cannot_be_read(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    tls = {"mode": "VERIFY_CA", "ca": str(tmp_path / "none.pem")}
    report = diagnose(configuration([secret(tmp_path, mariadb.user)], [target(mariadb)], group={"tls": tls}))
    (failure,) = report.failures()
    assert failure.found == f"target_group.tls.ca: {tmp_path}/none.pem: No such file or directory"


def test_places_to_listen(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = [
            f"tcp:{port}:interface=127.0.0.1",
            f"tcp:{free}:interface=127.0.0.1",
            "tcp:0:interface=192.0.2.1",
            f"unix:{tmp_path}/none/mysql.sock",
            "systemd:domain=INET:index=0",
        ]
        report = diagnose(configuration([secret(tmp_path, mariadb.user)], [target(mariadb)], listen=listen))
    in_use, is_free, elsewhere, folder, passed = report.findings[: len(listen)]
    assert (in_use.level, in_use.found) == (Level.WARN, "it is in use")
    assert (is_free.level, is_free.found) == (Level.OK, "free")
    assert elsewhere.remedy == "interface must be an address of this machine"
    assert folder.remedy == "make the folder"
    assert passed.level is Level.OK
    # And it listens no more.
    with socket.create_server(("127.0.0.1", free)):
        pass
