"""Which XA statements are understood."""

from __future__ import annotations

import pytest

from rdsproxy.session.distributed import Step, step_of


@pytest.mark.parametrize(
    ("sql", "step"),
    [
        (b"XA START 'a'", Step(True, b"'a'")),
        (b"xa begin'a b' , X'0f' , 7 ;", Step(True, b"'a b',X'0f',7")),
        (b"XA START 0x61,'b'", Step(True, b"0x61,'b'")),
        (b"XA COMMIT 'a'", Step(False, b"'a'")),
        (b"XA COMMIT 'a' ONE PHASE", Step(False, b"'a'")),
        (b"XA ROLLBACK 'a'", Step(False, b"'a'")),
        (b"XA PREPARE 'a','b'", Step(False, b"'a','b'")),
        (b"XA END 'a'", Step(False, b"")),
        (b"XA RECOVER", Step(False, b"")),
        (b"XA RECOVER CONVERT XID", Step(False, b"")),
        (b"XA START 'a' JOIN", None),
        (b"XA END 'a' SUSPEND", None),
        (b"XA START \"a\"", None),
        (b"XA START 'a\\''", None),
        (b"XA START 'a'; SELECT 1", None),
        (b"/* x */ XA START 'a'", None),
    ],
)
def test_statements(sql: bytes, step: Step | None) -> None:
    assert step_of(sql) == step
