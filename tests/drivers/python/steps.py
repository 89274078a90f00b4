"""What the Python programs share: where to connect, and how they speak with the test that runs them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

HOST = os.environ["DB_HOST"]
PORT = int(os.environ["DB_PORT"])
USER = os.environ["DB_USER"]
PASSWORD = os.environ["DB_PASSWORD"]
SCHEMA = os.environ["DB_SCHEMA"]
TABLE = os.environ["DB_TABLE"]
CA = os.environ.get("DB_CA") or None  # TLS is wanted if it is there

# id is given by the server; the others are number, amount, ratio, day, moment, text, data.
ROWS: list[tuple[Any, ...]] = [
    (1, Decimal("12345678.9012"), 0.5, date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 789012), "ä€😀", b"\0\xff'"),
    (-9223372036854775808, Decimal("-0.0001"), -1.5e30, date(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59), "", b""),
    (None, None, None, None, None, None, None),
]
COLUMNS = "number, amount, ratio, day, moment, text, data"


def show(*values: Any) -> None:
    """Print a line of what was seen."""
    print(json.dumps(values, default=_text), flush=True)


def pause() -> None:
    """Let others have the database connections; no transaction may be open."""
    print('"pause"', flush=True)
    sys.stdin.readline()


def digest(rows: Any) -> str:
    """Give a hash of rows."""
    return hashlib.sha256(json.dumps(list(rows), default=_text).encode()).hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (Decimal, date, timedelta)):
        return f"{type(value).__name__} {value}"
    raise TypeError(type(value))
