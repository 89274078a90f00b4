"""Statements of which the text proves what they cannot have done, when nobody knows whether they ran."""

from __future__ import annotations

import re
from typing import Final

from rdsproxy.session.functions import only_native

# One statement that reads, locks nothing, assigns nothing and writes no file.
_READS: Final = re.compile(rb"[\s(]*(?:SELECT|SHOW|DESC|DESCRIBE|EXPLAIN|VALUES|TABLE|WITH)\b[^;]*;?\s*", re.DOTALL)
_MORE_THAN_READS: Final = re.compile(
    rb":=|/\*|(?<!@)@(?!@)|\b(?:INTO|UPDATE|DELETE|INSERT|REPLACE|LOCK|SHARE|ANALYZE|NEXTVAL|SETVAL|LASTVAL|SLEEP|BENCHMARK)\b"
    rb"|\bNEXT\s+VALUE\b"
)
# None of these ends a transaction.
_STAYS: Final = re.compile(rb"[\s(]*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|VALUES|SHOW|SAVEPOINT)\b[^;]*;?\s*")


def only_reads(code: bytes) -> bool:
    """Tell for certain that a statement changes nothing; `code` is without strings and comments, in upper case.

    A view may call a stored function, which no text shows: that is taken for a reader here.
    """
    return _READS.fullmatch(code) is not None and not _MORE_THAN_READS.search(code) and only_native(code)


def cannot_commit(code: bytes) -> bool:
    """Tell for certain that a statement leaves the transaction open that it runs in."""
    # Stored functions and triggers cannot commit either; an executable comment may hold anything.
    return _STAYS.fullmatch(code) is not None and b"/*" not in code
