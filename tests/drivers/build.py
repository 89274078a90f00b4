"""The programs of Go and Java, compiled once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.cache import cache_folder, locked, made_whole


def built(source: Path, compiler: Sequence[str], environment: Mapping[str, str]) -> Path:
    """Return the folder with what ``compiler`` makes of ``source``.

    ``{out}`` in the compiler's words stands for the folder. Raises CalledProcessError if it fails.
    """
    recipe = repr((list(compiler), source.read_bytes()))
    name = f"{source.parent.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    target = cache_folder() / name
    with locked(name):
        if not target.exists():
            with made_whole(target) as folder:
                words = [word.format(out=folder) for word in compiler]
                subprocess.run([*words, str(source)], check=True, env={**os.environ, **environment})
    return target
