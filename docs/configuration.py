"""Writes ``configuration.md`` from the schema of configurations: ``python docs/configuration.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdsproxy.config import Config

PAGE = Path(__file__).with_suffix(".md")

INTRODUCTION = """\
# Configuration

<!-- Made by docs/configuration.py from rdsproxy/config; change it there. -->

    twistd -n rdsproxy --config rdsproxy.toml

runs the proxy with a configuration file, and `twist rdsproxy --config rdsproxy.toml` does the same. The file is TOML;
its names are those of the Amazon RDS API in snake_case. All durations are seconds. Unknown keys and bad values are
refused, all at once and before anything listens, each with its path and the reason; the exit status is then 1:

    rdsproxy: proxy.endpoints[0].listen[0]: a TCP port is at most 65535, not 70000
    rdsproxy: target_group.max_conections: unknown key; did you mean max_connections?

`rdsproxy check-config FILE` says the same, or what would run, without listening or connecting.
`rdsproxy config-schema` prints a JSON Schema for editors.

A complete file:

    [proxy]
    name = "orders"
    require_tls = true
    [proxy.tls]
    certificate = "server.pem"
    private_key = "server.key"
    [[proxy.endpoints]]
    name = "default"
    listen = ["tcp:3306:interface=127.0.0.1", "unix:/run/rdsproxy/mysql.sock"]
    [[proxy.auth]]
    secret = "file:secrets/app.json"    # {"username": "app", "password": "..."}
    [target_group]
    max_connections = 20
    [target_group.tls]
    mode = "VERIFY_IDENTITY"
    ca = "ca.pem"
    [[target_group.targets]]
    host = "db.example.com"
    [admin]
    listen = "tcp:8404:interface=127.0.0.1"

Without a file, this is enough to run; everything else has its default:

    twistd -n rdsproxy --target 10.0.0.5:3306 --listen tcp:3306:interface=127.0.0.1 --secret file:app.json

An application that embeds the proxy makes the same configuration in Python: `rdsproxy.Config.model_validate({...})`.
"""


def page() -> str:
    """Give the text of the page."""
    schema = Config.model_json_schema()
    return INTRODUCTION + "".join(_section(schema, schema, ""))


def _section(schema: dict[str, Any], section: dict[str, Any], path: str) -> Iterator[str]:
    rows = []
    inner = []
    for key, value in section["properties"].items():
        below = f"{path}.{key}" if path else key
        table, is_array = _table(schema, value)
        if table is None:
            rows.append(f"| `{key}` | {_kind(value)} | {_default(section, key, value)} | {_words(value)} |\n")
        else:
            heading = f"[[{below}]]" if is_array else f"[{below}]"
            need = "" if is_array or key in section.get("required", []) else " Optional."
            inner.append(f"\n## `{heading}`\n{_words(table)}{need}\n")
            inner.extend(_section(schema, table, below))
    if rows:
        yield "\n| key | value | default | meaning |\n|---|---|---|---|\n"
        yield from rows
    yield from inner


def _table(schema: dict[str, Any], value: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """The section that *value* is, if it is one, and whether it may be repeated."""
    is_array = "items" in value
    for choice in [value.get("items", value), *value.get("anyOf", [])]:
        if "$ref" in choice:
            return schema["$defs"][choice["$ref"].rpartition("/")[2]], is_array
    return None, is_array


def _kind(value: dict[str, Any]) -> str:
    choices = [choice for choice in value.get("anyOf", [value]) if choice.get("type") != "null"]
    (value,) = choices
    if "const" in value:
        return f'`"{value["const"]}"`'
    if "enum" in value:
        return ", ".join(f'`"{choice}"`' for choice in value["enum"])
    kind = {
        "string": "path" if value.get("format") == "path" else "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "`true`, `false`",
        "array": "array of text",
    }[value["type"]]
    lowest = value.get("minimum")
    above = value.get("exclusiveMinimum")
    highest = value.get("maximum")
    if lowest is not None:
        kind += f", {lowest:g} to {highest:g}" if highest is not None else f", at least {lowest:g}"
    elif above is not None:
        kind += f", above {above:g}, at most {highest:g}"
    return kind


def _default(section: dict[str, Any], key: str, value: dict[str, Any]) -> str:
    if key in section.get("required", []):
        return "required"
    default = value.get("default")
    if default is None:
        return "none" if "default" in value else "see right"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def _words(value: dict[str, Any]) -> str:
    return " ".join(value.get("description", "").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
