"""Reading what sysbench writes."""

import pytest

from tests.bench.processes import BenchError
from tests.bench.sysbench import Report, parse

REPORT = """\
SQL statistics:
    queries performed:
        read:                            11262
        write:                           0
        other:                           738
        total:                           12000
    transactions:                        600    (300.00 per sec.)
    queries:                             12000  (6000.00 per sec.)
    ignored errors:                      3      (1.50 per sec.)
    reconnects:                          0      (0.00 per sec.)

General statistics:
    total time:                          2.5000s
    total number of events:              600

Latency (ms):
         min:                                    0.04
         95th percentile:                       30.81
"""


def test_the_rate_is_of_the_time_that_was_needed_not_of_the_time_asked_for() -> None:
    assert parse(REPORT) == Report(queries=12000, qps=4800.0, p95=30.81, errors=3)


def test_a_failure_is_told_in_the_words_of_the_server() -> None:
    said = "sysbench 1.0.20\n\nFATAL: unable to connect to MySQL server\nFATAL: error 1040: Too many connections\n"
    with pytest.raises(BenchError, match="unable to connect to MySQL server"):
        parse(said)


def test_silence_is_no_report() -> None:
    with pytest.raises(BenchError, match="no report"):
        parse("")
