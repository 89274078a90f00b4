"""Whether two samples are of one kind: the rank-sum test of Mann, Whitney and Wilcoxon."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, sqrt


def rank_sum(first: Sequence[float], second: Sequence[float]) -> float:
    """Give the probability of samples that differ as much as these, or more, if nothing distinguishes them.

    By the normal approximation, for samples of more than some twenty; ties share their ranks.
    """
    both = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    total = ties = 0.0
    start = 0
    while start < len(both):
        end = start
        while end < len(both) and both[end][0] == both[start][0]:
            end += 1
        # Ranks count from 1: those from start + 1 to end have this one on average.
        total += (start + end + 1) / 2 * sum(not which for _, which in both[start:end])
        ties += (end - start) ** 3 - (end - start)
        start = end
    n, m = len(first), len(second)
    u = total - n * (n + 1) / 2
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    return erfc(abs(u - n * m / 2) / sqrt(variance) / sqrt(2)) if variance else 1.0
