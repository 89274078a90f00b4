"""Where there is no compiler, sessions get the same answers, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential.compare import Comparison, comparing
from tests.differential.scripts import scripts
from tests.differential.test_differential import SETTINGS
from tests.servers import DatabaseServer


@pytest.fixture(scope="module")
def comparison(database: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    """Each server with a proxy that has no compiled helpers."""
    with comparing(database, tmp_path_factory.mktemp("not-compiled"), compiled=False) as comparison:
        yield comparison


@settings(SETTINGS, max_examples=4)
@given(data=st.data())
def test_scripts(comparison: Comparison, data: st.DataObject) -> None:
    comparison.check(data.draw(scripts(comparison.server.kind)))
