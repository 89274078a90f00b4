"""What is shipped: built, installed in an empty environment, and found there by Twisted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
# Building and installing fetch packages; a slow mirror is no failure.
pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, cwd: Path) -> str:
    # What makes this checkout importable must not make the installed package look complete.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheel_contents(folder: Path) -> set[str]:
    """Return the names in the wheel in ``folder``, without those that describe the wheel itself."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, built from a copy of the source, and the wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    source.mkdir()
    for name in ("rdsproxy", "twisted"):
        shutil.copytree(TOP / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for pattern in ("setup.*", "*.in", "*.md", "Makefile", "ruff.toml"):
        for file in TOP.glob(pattern):
            shutil.copy(file, source)
    run(sys.executable, "-m", "build", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a new environment, in which nothing but the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin/python", "-m", "pip", "--quiet", "install", wheel, cwd=folder)
    return folder / "bin"


def test_wheel_has_every_module_the_marker_and_the_plugin_and_nothing_else(dist: Path) -> None:
    source = dist / "source"
    files = {
        str(file.relative_to(source)) for pattern in ("*.py", "*.pyi", "py.typed") for file in source.rglob(pattern)
    }
    files -= {"setup.py"}
    names = wheel_contents(dist)
    compiled = {name for name in names if name.endswith(".so")}
    assert "rdsproxy/py.typed" in names
    assert "twisted/plugins/rdsproxy_plugin.py" in names
    assert names - compiled == files
    helpers = {"rdsproxy/_sender", "rdsproxy/_serve", "rdsproxy/protocol/_walk", "rdsproxy/shortcut/_twins"}
    assert {name.partition(".")[0] for name in compiled} == helpers


def test_without_a_compiler_the_wheel_is_built_without_the_compiled_helpers(dist: Path, tmp_path: Path) -> None:
    build = (sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, dist / "source")
    run("env", "CC=false", *build, cwd=tmp_path)
    assert wheel_contents(tmp_path) == {name for name in wheel_contents(dist) if not name.endswith(".so")}


def test_sdist_has_the_sources_of_the_compiled_helpers(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    source = dist / "source"
    sources = {str(file.relative_to(source)) for pattern in ("*.c", "*.h") for file in source.rglob(pattern)}
    assert "rdsproxy/shortcut/twins.h" in sources
    assert sources <= names


@pytest.mark.parametrize("program", ["twist", "twistd"])
def test_twisted_finds_the_plugin(installed: Path, tmp_path: Path, program: str) -> None:
    listing = run(installed / program, "--help", cwd=tmp_path)
    assert "rdsproxy" in {line.split()[0] for line in listing.splitlines() if line.strip()}
    assert "--config" in run(installed / program, "rdsproxy", "--help", cwd=tmp_path)


def test_console_script(installed: Path, tmp_path: Path) -> None:
    assert "check-config" in run(installed / "rdsproxy", "--help", cwd=tmp_path)


def test_every_module_can_be_imported_with_the_requirements_alone(installed: Path, tmp_path: Path) -> None:
    program = (
        "import importlib, pkgutil, rdsproxy\n"
        "for module in pkgutil.walk_packages(rdsproxy.__path__, 'rdsproxy.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name); print(module.name)\n"
    )
    imported = run(installed / "python", "-c", program, cwd=tmp_path).split()
    assert "rdsproxy.service" in imported
    assert "rdsproxy.protocol.authentication" in imported


def test_installed_requirements_fit_together(installed: Path, tmp_path: Path) -> None:
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)
