"""Eight sessions on two connections get the answers that eight dedicated connections get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.compare import Comparison, comparing
from tests.differential.scripts import scripts
from tests.servers import DatabaseServer

SETTINGS = settings(
    max_examples=18,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module")
def comparison(database: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    """Each server with a proxy of its own."""
    with comparing(database, tmp_path_factory.mktemp("differential")) as comparison:
        yield comparison


@SETTINGS
@given(data=st.data())
def test_scripts(comparison: Comparison, data: st.DataObject) -> None:
    comparison.check(data.draw(scripts(comparison.server.kind)))
