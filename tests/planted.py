"""Secrets that tests plant, and what proxies say: at the end of the run the one is searched for in the other.

Both are kept in a folder that all processes of a run share, in files of their own for each process.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

_VARIABLE = "RDSPROXY_TEST_OUTPUT"
_SHORTEST = 5
"""Characters of a secret that is searched for: shorter ones stand everywhere by chance."""
_numbers = count(1)

ALWAYS = ("PRIVATE KEY-----", "X-Amz-Signature=", "X-Amz-Security-Token=")
"""What no output may have, whoever has planted it: keys and tokens."""


def begin() -> bool:
    """Make the folder, unless a process has done so of which this one is a part; tell whether it was made."""
    if _VARIABLE in os.environ:
        return False
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="rdsproxy-output-")
    return True


def plant(*secrets: str) -> None:
    """Note secrets that no output of this run may have."""
    folder = _folder()
    if folder is not None:
        with (folder / f"{os.getpid()}.secrets").open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(secret)}\n" for secret in secrets)


def keep(name: str, text: str) -> None:
    """Keep an output until the end of the run."""
    folder = _folder()
    if folder is not None:
        (folder / f"{name}-{os.getpid()}-{next(_numbers)}.output").write_text(text, encoding="utf-8")


def found() -> list[str]:
    """Search all outputs for all secrets; give where there is one, and not which. Removes the folder if there is none.

    Each process may call this, but not before those that are part of it have ended.
    """
    folder = _folder()
    assert folder is not None
    planted = {json.loads(line) for file in folder.glob("*.secrets") for line in file.read_text("utf-8").splitlines()}
    wanted = list(_forms(_shortest([*planted, *ALWAYS])))
    places = []
    for file in sorted(folder.glob("*.output")):
        text = file.read_text("utf-8")
        hits = [text.index(word) for word in wanted if word in text]
        places += [f"{file}:{text.count(chr(10), 0, hit) + 1}" for hit in sorted(hits)]
    if not places:
        shutil.rmtree(folder)
        del os.environ[_VARIABLE]
    return places


def _shortest(secrets: Iterable[str]) -> list[str]:
    """Leave out what has another one in it, such as a common beginning: that is found with it."""
    kept: list[str] = []
    for secret in sorted(set(secrets), key=len):
        if len(secret) >= _SHORTEST and not any(one in secret for one in kept):
            kept.append(secret)
    return kept


def _forms(secrets: Iterable[str]) -> Iterator[str]:
    """Give each as it is, and as JSON writes it."""
    for secret in secrets:
        yield from {secret, json.dumps(secret)[1:-1]}


def _folder() -> Path | None:
    where = os.environ.get(_VARIABLE)
    return None if where is None else Path(where)
