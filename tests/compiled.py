"""The compiled helpers: missing only where they cannot be built."""

from __future__ import annotations

import importlib
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest


def compiled_helper(name: str) -> Any:
    """Give a compiled module. Fails where it should have been built, skips where it could not be."""
    try:
        return importlib.import_module(name)
    except ImportError:
        compiler = shutil.which(sysconfig.get_config_var("CC").split()[0]) or shutil.which("cc")
        headers = Path(sysconfig.get_path("include"), "Python.h")
        if compiler is not None and headers.exists():
            pytest.fail(f"{name} was not built, although there is a compiler: make clean venv")
        pytest.skip(f"no C compiler, or no headers of Python: {name} cannot be built")
