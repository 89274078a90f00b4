"""What is made once and used by every later run: unpacked servers and filled data folders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of the cache: $RDSPROXY_CACHE, or ~/.cache/rdsproxy."""
    folder = Path(os.environ.get("RDSPROXY_CACHE") or Path.home() / ".cache" / "rdsproxy").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock ``name`` of the cache: two runs at once do not make the same thing twice."""
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` when the block succeeds and vanishes when not."""
    # Not hidden by a dot: mysqld does not see its own undo files in a hidden folder.
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"new-{target.name}-"))
    try:
        yield folder
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
