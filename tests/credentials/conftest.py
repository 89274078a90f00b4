"""What the tests of credentials share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.credentials.secrets_manager import SecretsManager, environment


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManager]:
    """An API that does not run yet, and an environment that leads to it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    manager = SecretsManager()
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment(manager.url).items():
        monkeypatch.setenv(variable, value)
    yield manager
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()
