"""Eight sessions on two connections get the answers that eight dedicated connections get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.commands import Bulk, ChangeUser, Execute, Prepare, Query, Step
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


# utf8mb3_general_ci, latin1_german1_ci, cp1251_bin, utf8mb4_unicode_520_ci; above 255, which takes the second byte,
# MariaDB's utf8mb4_uca1400_ai_ci and MySQL's utf8mb4_0900_bin.
COLLATIONS = {"mariadb": (33, 5, 50, 246, 2304), "mysql": (33, 5, 50, 246, 309)}


def test_the_character_set_changes(comparison: Comparison) -> None:
    """By SET NAMES and by COM_CHANGE_USER, under statements and parameters that are not ASCII."""
    kind = comparison.server.kind
    ask = Query("names", "SELECT @@character_set_client, @@character_set_results, @@collation_connection, 'é'")
    prepare = Prepare("prepared", 0, "INSERT INTO t1 (v, s) VALUES (?, CONCAT('é', ?))")
    bulk = (Bulk("prepared", 0, ((7, "ä"), (8, "ö")), bind=False),) if kind == "mariadb" else ()
    insert = (Execute("prepared", 0, (6, "é"), cursor=False, bind=False), *bulk)
    look = Query("select", "SELECT v, s, HEX(s) FROM t1")
    delete = Query("write", "DELETE FROM t1")
    moved = Step(2, Query("names", "SET NAMES latin2, sql_mode = ''"))
    script = []
    for collation in COLLATIONS[kind]:
        changes = Query("names", "SET NAMES cp1250"), ChangeUser("change user", "diff1", collation)
        for change in changes:
            for command in (prepare, *insert, change, ask, *insert, look, delete, prepare, *insert, look, delete):
                script += [Step(1, command), moved]
    comparison.check(tuple(script))


@SETTINGS
@given(data=st.data())
def test_scripts(comparison: Comparison, data: st.DataObject) -> None:
    comparison.check(data.draw(scripts(comparison.server.kind)))
