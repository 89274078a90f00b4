"""Who examines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.credentials.conftest import manager
from tests.doctor.examiner import Examiner

__all__ = ["diagnose", "manager"]


@pytest.fixture(scope="session")
def diagnose() -> Iterator[Examiner]:
    """Examines a configuration."""
    with Examiner() as examiner:
        yield examiner
