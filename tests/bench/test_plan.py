"""Which cells a run has."""

from tests.bench.plan import WORKLOADS, Cell, estimate, make_plan

EVERYONE = ("direct", "rdsproxy", "haproxy", "router")


def test_router_meets_rdsproxy_on_mysql_because_it_cannot_share_connections_of_mariadb() -> None:
    plan = make_plan("mariadb", EVERYONE, WORKLOADS[:1], (8, 64))
    assert [(cell.database, cell.clients, cell.contestants) for cell in plan] == [
        ("mariadb", 8, ("direct", "rdsproxy", "haproxy")),
        ("mariadb", 64, ("direct", "rdsproxy", "haproxy")),
        ("mysql", 8, ("rdsproxy", "router")),
        ("mysql", 64, ("rdsproxy", "router")),
    ]


def test_on_mysql_all_run_side_by_side() -> None:
    assert [cell.contestants for cell in make_plan("mysql", EVERYONE, WORKLOADS[:1], (8,))] == [EVERYONE]


def test_router_alone_needs_no_mariadb() -> None:
    assert [cell.database for cell in make_plan("mariadb", ("router",), WORKLOADS[:1], (8,))] == ["mysql"]


def test_each_contestant_comes_first_in_its_turn() -> None:
    cell = Cell("mysql", WORKLOADS[0], 8, ("direct", "rdsproxy", "haproxy"))
    assert list(cell.rounds(4)) == [
        ("direct", "rdsproxy", "haproxy"),
        ("rdsproxy", "haproxy", "direct"),
        ("haproxy", "direct", "rdsproxy"),
        ("direct", "rdsproxy", "haproxy"),
    ]


def test_a_full_run_is_meant_to_take_less_than_half_an_hour() -> None:
    plan = make_plan("mariadb", EVERYONE, WORKLOADS, (1, 8, 64, 512))
    assert 600 < estimate(plan, rounds=3, seconds=4) < 1800
