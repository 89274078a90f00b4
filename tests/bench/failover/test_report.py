"""What the table says."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.failover.measure import Sample
from tests.bench.failover.report import Result, as_data, notes, table

GOOD = Sample(0, 0, {}, 0, 0, 0, 0, 0.02, 1.1, 0, 0, {"event": 0.0}, [70, 0, 71])


def result() -> Result:
    found = Result("kill", ("direct", "rdsproxy"))
    found.samples["direct"] = [
        replace(GOOD, dropped=16, errors={"2013 no SQLSTATE": 14}, refused=400, idle_dropped=4, outage=1.3),
        replace(GOOD, dropped=16, errors={"2013 no SQLSTATE": 16}, refused=500, idle_dropped=4, outage=1.2),
        replace(GOOD, dropped=15, errors={"2013 no SQLSTATE": 15, "1290 HY000": 1}, refused=600, outage=9.9),
    ]
    found.samples["rdsproxy"] = [replace(GOOD, first_write=None), replace(GOOD, lost=1, problems=["entry 7 is away"])]
    return found


def test_the_table_has_medians_ranges_of_errors_and_the_worst_of_what_must_not_be() -> None:
    assert table([result()]) == [
        "| event | contestant | clients dropped | errors | outside transactions | failed connects | idle dropped "
        "| idle changed | first write s | outage s | lost | doubled |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| kill | direct | 16 | 1290 HY000: 0 to 1, 2013 no SQLSTATE: 14 to 16 | 0 | 500 | 4 | 0 | 0.02 | 1.30 | 0 "
        "| 0 |",
        "| kill | rdsproxy | 0 | none | 0 | 0 | 0 | 0 | 0.02 | 1.10 | 1 | 0 |",
    ]


def test_a_contestant_without_a_run_has_failed_and_the_reason_is_noted() -> None:
    found = Result("cut", ("haproxy",), failures={"haproxy": ["it does not start", "again"]})
    assert table([found])[-1].startswith("| cut | haproxy | failed |")
    assert notes([found]) == ["- cut, haproxy: 2 rounds failed, the first: it does not start"]


def test_what_is_wrong_in_the_tables_is_said() -> None:
    assert notes([result()]) == ["- kill, rdsproxy: entry 7 is away"]


def test_the_picture_shows_the_round_with_the_median_outage() -> None:
    found = result()
    typical = found.typical("direct")
    assert typical is not None
    assert typical.outage == 1.3
    assert found.typical("haproxy") is None


def test_the_data_has_every_run() -> None:
    (event,) = as_data({"machine": "a"}, [result()])["events"]
    assert [sample["dropped"] for sample in event["samples"]["direct"]] == [16, 16, 15]
