"""The pages: their links lead somewhere, their code compiles and runs, their configurations are valid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rdsproxy.config import from_dict
from rdsproxy.session.pinning import PinReason
from tests.servers import MariaDB
from tests.test_metrics import Proxy

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


@by_name
def test_tests_that_are_named_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert re.search(rf"^def {name}\(", (TOP / file).read_text(), re.MULTILINE), f"{file}::{name}"


def test_each_promise_names_its_test() -> None:
    text = (TOP / "docs" / "threats.md").read_text()
    rows = re.findall(r"^\| [STRIDE, ]*\| (?!promised)(.*?) ?\| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 40
    for promise, shown in rows:
        assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`", shown), promise


def test_each_metric_is_explained() -> None:
    text = (TOP / "docs" / "operating.md").read_text()
    named = re.findall(r"^\| `(rdsproxy_\w+)` \|", text, re.MULTILINE)
    families = [family for family in Proxy().registry.collect() if family.name.startswith("rdsproxy_")]
    assert named == [family.name + ("_total" if family.type == "counter" else "") for family in families]


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


def test_own_place_for_secrets_of_the_credentials_page(mariadb: MariaDB, tmp_path: Path) -> None:
    class Vault(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["X-Vault-Token"] == "token"
            secret = {"username": mariadb.user.name, "password": mariadb.user.password}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"data": secret}}).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    config = tmp_path / "rdsproxy.toml"
    config.write_text(
        f"[[proxy.endpoints]]\nlisten = ['tcp:0:interface=127.0.0.1']\n[[proxy.auth]]\nsecret = 'file:unused'\n"
        f"[[target_group.targets]]\nhost = '127.0.0.1'\nport = {mariadb.port}\n"
    )
    (code,) = blocks(TOP / "docs" / "credentials.md", "python")
    with ThreadingHTTPServer(("127.0.0.1", 0), Vault) as vault:
        thread = threading.Thread(target=vault.serve_forever)
        thread.start()
        code += f"""
import pymysql
from twisted.internet import task

proxy = proxy_of({str(config)!r}, "http://127.0.0.1:{vault.server_port}/v1/secret/data/app", "token")

def ask(port):
    with pymysql.connect(host="127.0.0.1", port=port, user="app", password="app-password") as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 6 * 7")
            return cursor.fetchone()

async def main(reactor):
    proxy.startService()
    try:
        print(await deferToThread(ask, proxy.ports[0].getHost().port))
    finally:
        await proxy.stopService()

task.react(main)
"""
        try:
            assert run(code, tmp_path).splitlines()[-1] == "(42,)"
        finally:
            vault.shutdown()
            thread.join()


def run(code: str, folder: Path) -> str:
    """Run a program with this checkout in its path; give what it prints."""
    program = folder / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, program], env={"PYTHONPATH": str(TOP)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
