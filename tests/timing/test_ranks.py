"""The rank-sum test, by values that are known."""

from __future__ import annotations

import pytest

from tests.timing.ranks import rank_sum


def test_values_that_are_known() -> None:
    assert rank_sum([1.0, 4.0], [2.0, 3.0]) == 1.0
    assert rank_sum([5.0] * 30, [5.0] * 30) == 1.0
    # U is 0 where nothing overlaps: z = 12.5 / sqrt(5 * 5 * 11 / 12) = 2.611.
    assert rank_sum([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]) == pytest.approx(0.00902, abs=5e-5)


def test_a_shift_is_found_and_none_is_not() -> None:
    values = [float(number * 7919 % 1000) for number in range(1000)]
    assert rank_sum(values, [value + 0.5 for value in values]) > 0.5
    assert rank_sum(values, [value + 60 for value in values]) < 1e-4
