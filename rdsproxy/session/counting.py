"""Behind which statements FOUND_ROWS() is known from the reply: the number of its rows, or what it was before.

What a server makes of it is full of exceptions: MariaDB leaves it alone where an aggregate finds out early that there
is no row, MySQL sets it in UPDATE and DO, LIMIT with an offset counts what it skips. So only the plainest are trusted:
each of these was compared with both servers (tests/session/test_counting.py).
"""

from __future__ import annotations

import re
from typing import Final

from rdsproxy.session.functions import calls

# Digits have been folded to 0. One SELECT, alone, without a subquery.
_SELECT: Final = re.compile(
    rb"\s*SELECT\b(?!.*(?:;|\bLIMIT\s+\S+\s*,"
    rb"|\b(?:SELECT|UNION|INTERSECT|EXCEPT|MINUS|INTO|PROCEDURE|ROLLUP|CUBE|FETCH|OFFSET|HAVING|EXAMINED|VALUES|TABLE"
    rb"|SQL_CALC_FOUND_ROWS|JSON_TABLE)\b)).*",
    re.DOTALL,
)
_AGGREGATES: Final = frozenset(
    b"AVG BIT_AND BIT_OR BIT_XOR COUNT GROUP_CONCAT MAX MIN STD STDDEV SUM VARIANCE".split()
)
# No function and no subquery in them.
_OTHERS: Final = re.compile(
    rb"\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE\s+SAVEPOINT|USE|SET(?!\s+STATEMENT\b))\b[^;()]*"
)


_FIRST: Final = re.compile(rb"\s*(?:SELECT|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|USE|SET)\b")


def may_be_counted(text: bytes) -> bool:
    """Tell it at a glance: False for most statements that are not; `text`: the statement, in upper case."""
    return _FIRST.match(text) is not None


def is_counted(code: bytes) -> bool:
    """Tell it of the text of a COM_QUERY without strings and comments, in upper case."""
    code = code.rstrip(b"; \t\r\n")
    if _SELECT.fullmatch(code) is None:
        return _OTHERS.fullmatch(code) is not None
    return all(word or (native and name not in _AGGREGATES) for name, word, native in calls(code))
