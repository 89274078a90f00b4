"""The pages: their links lead somewhere, their code compiles and runs, their configurations are valid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdsproxy.config import from_dict
from rdsproxy.session.pinning import PinReason
from tests.servers import MariaDB

TOP = Path(__file__).parent.parent
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^]\n]*]\(([^)\s]+)\)")
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(page.read_text()) if name == language]


def anchors(page: Path) -> set[str]:
    """Give the names that headings have where pages are shown."""
    found = set()
    for line in BLOCK.sub("", page.read_text()).splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


def links(page: Path) -> Iterator[str]:
    for target in LINK.findall(BLOCK.sub("", page.read_text())):
        if not target.startswith(("https://", "mailto:")):
            yield target


@by_name
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(TOP), target
        assert there.is_file(), target
        if anchor:
            assert anchor in anchors(there), target


@by_name
def test_python_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, page.name, "exec")


@by_name
def test_configurations_are_valid(page: Path) -> None:
    for text in blocks(page, "toml"):
        from_dict(tomllib.loads(text), folder=TOP)
    for text in blocks(page, "json"):
        json.loads(text)


def test_each_pin_is_explained() -> None:
    text = (TOP / "docs" / "architecture.md").read_text()
    section = text.partition("## What pins a session")[2].partition("\n## ")[0]
    named = re.findall(r"^\| ([A-Z_]+) \|", section, re.MULTILINE)
    assert sorted(named) == sorted(reason.name or "" for reason in PinReason if reason)


def test_functions_of_the_walk_exist() -> None:
    text = (TOP / "docs" / "architecture.md").read_text()
    section = text.partition("## The walk of a query")[2].partition("\n## ")[0]
    source = "\n".join(path.read_text() for path in (TOP / "rdsproxy").rglob("*.py*") if path.suffix in (".py", ".pyi"))
    named = re.findall(r"`(?:[A-Z]\w+\.|restore\.)?(_?[a-z]\w*)`", section)
    assert len(named) > 10
    for name in named:
        assert re.search(rf"\bdef {name}\b", source), name


def test_application_of_the_embedding_page(tmp_path: Path) -> None:
    (code,) = (code for code in blocks(TOP / "docs" / "embedding.md", "python") if "Application(" in code)
    code += "\nfrom twisted.application.service import IServiceCollection\n"
    code += "print([type(part).__name__ for part in IServiceCollection(application)])\n"
    assert run(code, tmp_path) == "['ProxyService']\n"


def test_own_users_of_the_embedding_page(mariadb: MariaDB, tmp_path: Path) -> None:
    (code,) = (code for code in blocks(TOP / "docs" / "embedding.md", "python") if "async def main" in code)
    name, password = mariadb.user.name, mariadb.user.password
    assert f'user="{name}", password="{password}"' in code
    code = code.replace("127.0.0.1:3306", f"127.0.0.1:{mariadb.port}")
    assert run(code, tmp_path).splitlines()[-1] == "(42,)"


def run(code: str, folder: Path) -> str:
    """Run a program with this checkout in its path; give what it prints."""
    program = folder / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, program], env={"PYTHONPATH": str(TOP)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
