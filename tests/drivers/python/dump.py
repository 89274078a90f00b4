"""The databases' own command lines. Arguments: dump, or load what was dumped; the client; the dump program."""

from __future__ import annotations

import subprocess
import sys

from tests.drivers.python.steps import CA, HOST, PASSWORD, PORT, SCHEMA, TABLE, USER, digest, pause, show

WHAT, CLIENT, DUMP = sys.argv[1:]
options = [f"--host={HOST}", f"--port={PORT}", f"--user={USER}", f"--password={PASSWORD}", "--protocol=tcp"]
if "maria" in CLIENT:
    options += ["--default-character-set=utf8mb4", *([f"--ssl-ca={CA}"] if CA else ["--skip-ssl"])]
else:
    options += [f"--ssl-ca={CA}", "--ssl-mode=VERIFY_CA"] if CA else ["--ssl-mode=DISABLED", "--get-server-public-key"]


def run(program: str, *arguments: str, text: str = "") -> str:
    """Run one of the programs; give what it prints."""
    command = [program, "--no-defaults", *options, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", errors="surrogateescape")
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


rows = ", ".join(f"({number}, 'ä€😀 {number}', X'00FF27')" for number in range(500))
run(CLIENT, SCHEMA, text=f"INSERT INTO {TABLE} (number, text, data) VALUES {rows}")
pause()
if WHAT == "dump":
    for kind in ([], ["--hex-blob", "--skip-extended-insert", "--skip-tz-utc"], ["--skip-opt"], ["--no-data"]):
        dumped = run(DUMP, "--single-transaction", *kind, SCHEMA, TABLE, "numbers").replace(TABLE, "the_table")
        lines = [line for line in dumped.splitlines() if not line.startswith("-- ")]
        show("dump", kind, len(lines), digest(lines))
        pause()
else:
    dumped = run(DUMP, "--skip-lock-tables", SCHEMA, TABLE)
    run(CLIENT, SCHEMA, text=f"DROP TABLE {TABLE}")
    pause()
    run(CLIENT, SCHEMA, text=dumped)
    pause()
    show("loaded", run(CLIENT, "--batch", SCHEMA, text=f"SELECT COUNT(*), MAX(text), HEX(MIN(data)) FROM {TABLE}"))
