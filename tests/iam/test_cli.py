"""``rdsproxy token``, whose output a script takes as the password."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rdsproxy.cli import main
from rdsproxy.iam.keys import AccessKey, KeyVerifier
from rdsproxy.iam.sts_token import binding, parse_sts_token
from tests.iam.sts import Asked, answer, caller
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET, outcome


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def test_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--host", HOST, "--user", "app", "--region", REGION]) == 0
    token = capsys.readouterr().out.removesuffix("\n")
    verifier = KeyVerifier(lambda: {KEY_ID: AccessKey(SECRET, frozenset(("app",)))}, HOST, REGION, time.time)
    outcome(verifier.verify(token.encode(), "app", "192.0.2.1"))


def test_a_token_for_sts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--kind", "sts", "--host", HOST, "--user", "a user", "--region", REGION]) == 0
    token = parse_sts_token(capsys.readouterr().out.removesuffix("\n").encode())
    token.request.check_time(time.time())
    headers = {"host": token.host, **binding(HOST.upper(), "a user")}
    assert answer(Asked("GET", f"/?{token.query}", headers)) == caller("arn:aws:iam::123456789012:user/team/batch")


@pytest.mark.parametrize("kind", ["rds", "sts"])
def test_without_a_region(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["token", "--kind", kind, "--host", HOST, "--user", "app"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "rdsproxy: no IAM token can be made: You must specify a region.\n"


@pytest.mark.parametrize("kind", ["rds", "sts"])
def test_without_an_access_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["token", "--kind", kind, "--host", HOST, "--user", "app", "--region", REGION]) == 1
    assert "Unable to locate credentials" in capsys.readouterr().err
