"""What a pool may have of its target."""

from __future__ import annotations

import pytest

from rdsproxy.pool.limits import Limits


@pytest.mark.parametrize(
    ("setting", "of_target", "connections", "each"),
    [
        (100, 16382, 20, 100),
        (100, 16382, 1000, 16),  # all of them together must not use up what the server allows
        (5, 16382, 1000, 5),
        (100, 0, 20, 1),
    ],
)
def test_prepared_statements_of_one_connection(setting: int, of_target: int, connections: int, each: int) -> None:
    assert Limits(100, None, 50, 0, setting).prepared_statements(of_target, connections) == each
