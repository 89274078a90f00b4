"""What the tables say."""

from collections.abc import Sequence

from tests.bench.measure import Result, Sample
from tests.bench.plan import WORKLOADS, Cell
from tests.bench.report import as_data, ratio, table


def samples(values: Sequence[float], cpu: float | None = None) -> list[Sample]:
    return [Sample(number, qps, p95=1.5, cpu=cpu, errors=0) for number, qps in enumerate(values)]


def result() -> Result:
    found = Result(Cell("mariadb", WORKLOADS[0], 8, ("direct", "rdsproxy", "haproxy")))
    found.samples["direct"] = samples([30_000, 10_000, 20_000])
    found.samples["rdsproxy"] = samples([15_000, 6_000, 10_000], cpu=45.04)
    found.samples["haproxy"] = samples([15_000, 5_000, 12_500], cpu=30.0)
    return found


def test_a_ratio_is_of_runs_in_the_same_round() -> None:
    # The machine was slow in the second round for both: 0.5, 0.6, 0.5.
    assert ratio(samples([15, 6, 10]), samples([30, 10, 20]), lambda sample: sample.qps) == 0.5


def test_a_round_that_failed_for_one_is_left_out_of_the_ratio() -> None:
    assert ratio(samples([15, 6]), samples([30, 10])[1:], lambda sample: sample.qps) == 0.6
    assert ratio(samples([15]), [], lambda sample: sample.qps) is None


def test_the_table_has_medians_and_ratios() -> None:
    assert table([result()]) == [
        "| clients | contestant | qps | p95 ms | CPU us/query | qps/direct | qps/HAProxy | p95/HAProxy | CPU/HAProxy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 8 | direct | 20,000 | 1.50 |  |  | 2.00 | 1.00 |  |",
        "| 8 | rdsproxy | 10,000 | 1.50 | 45.0 | 0.50 | 1.00 | 1.00 | 1.50 |",
        "| 8 | haproxy | 12,500 | 1.50 | 30.0 | 0.50 |  |  |  |",
    ]


def test_a_contestant_without_a_run_has_failed() -> None:
    found = result()
    del found.samples["rdsproxy"]
    assert "| 8 | rdsproxy | failed |" in "\n".join(table([found]))


def test_the_data_has_every_run() -> None:
    (cell,) = as_data({"machine": "a"}, [result()])["cells"]
    assert (cell["workload"], cell["clients"]) == ("point-select", 8)
    assert [sample["qps"] for sample in cell["samples"]["rdsproxy"]] == [15_000, 6_000, 10_000]
