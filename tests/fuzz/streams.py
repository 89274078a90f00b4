"""Byte streams that no client and no server sends: by chance, or recorded ones with some bytes changed."""

from __future__ import annotations

import random
from collections.abc import Sequence

Random = random.Random


def packet(payload: bytes, sequence: int = 0) -> bytes:
    """Write one packet."""
    return (len(payload) & 0xFFFFFF).to_bytes(3, "little") + bytes([sequence & 0xFF]) + payload


# -- by chance ---------------------------------------------------------------------------------------------------------

_FIRST_BYTES = bytes((0x00, 0x01, 0x03, 0x0A, 0x11, 0x16, 0x17, 0x1B, 0x1F, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF))


def random_stream(chance: Random, sequence: int, commands: bytes = b"") -> bytes:
    """Give plain noise, noise in packets, or packets that begin with one of `commands`, if given.

    `sequence`: the id of the first packet that the other side would take. Commands all have the same, replies count on.
    """
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.choice((1, 3, 4, 5, 30, 300, 3000)))
    packets = []
    for number in range(chance.randint(1, 4)):
        payload = chance.randbytes(chance.choice((0, 1, 2, 8, 32, 250, 1000)))
        if kind > 1:
            payload = bytes([chance.choice(commands or _FIRST_BYTES)]) + payload
        packets.append(packet(payload, sequence if commands else sequence + number))
    return b"".join(packets)


# -- recorded ones, changed --------------------------------------------------------------------------------------------


def mutated(chance: Random, data: bytes) -> bytes:
    """Give `data` with one to four changes: bytes set, flipped, put in, taken out, said twice, or cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        if not changed:
            break
        at = chance.randrange(len(changed))
        match chance.randrange(7):
            case 0:
                changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF))
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 4, 20)))
            case 3:
                del changed[at : at + chance.choice((1, 2, 4, 20))]
            case 4:
                changed[at:at] = changed[at : at + chance.choice((4, 5, 12, 40))]
            case 5:
                del changed[at:]
            case 6:
                # The places where lengths are: a header, mostly of the first packet.
                at = chance.choice((0, 0, 1, 2, 3, 4, at))
                changed[at : at + 1] = chance.randbytes(1)
    return bytes(changed)


# -- what clients send -------------------------------------------------------------------------------------------------


def query(sql: str) -> bytes:
    """Write a COM_QUERY."""
    return packet(b"\x03" + sql.encode())


QUIT = packet(b"\x01")
COMMANDS = bytes(range(0x21)) + b"\xfa\xfe"

ONE = b"\x01\0\0\0"  # the id of the first prepared statement
EXECUTE = packet(b"\x17" + ONE + b"\0\x01\0\0\0\0\x01\x08\0\x05\0\0\0\0\0\0\0")
CHANGE_USER = packet(b"\x11fuzz\0\x14" + bytes(20) + b"app\0\x2d\0mysql_native_password\0")
INSERT = "INSERT INTO fuzz_in (b) VALUES ('x')"

SESSIONS: Sequence[Sequence[bytes]] = (
    (query("SELECT 1"), query("SELECT a, b FROM fuzz WHERE a < 3"), query("SELECT NULL, 'x', 1.5, _binary x'00ff'")),
    (query("BEGIN"), query(INSERT), query("SELECT LAST_INSERT_ID()"), query("ROLLBACK")),
    (query("SET NAMES latin1"), query("SET @x = 1, sql_mode = 'ANSI_QUOTES'"), query("SELECT @x, @@sql_mode")),
    (query(f"SELECT 1; SELECT 2; {INSERT}; SELECT 3"), packet(b"\x0e")),
    (packet(b"\x16SELECT a FROM fuzz WHERE a > ?"), EXECUTE, packet(b"\x1a" + ONE), packet(b"\x19" + ONE)),
    (packet(b"\x16SELECT ?"), packet(b"\x18" + ONE + b"\0\0abc"), EXECUTE, packet(b"\x1c" + ONE + b"\x02\0\0\0")),
    (query("LOAD DATA LOCAL INFILE 'x' INTO TABLE fuzz_in (b)"), packet(b"a\nb\n", 2), packet(b"", 3), packet(b"\x0e")),
    (packet(b"\x02app"), packet(b"\x04fuzz\0%"), packet(b"\x09"), packet(b"\x0a")),
    (packet(b"\x1b\0\0"), query("SELECT 1; SELECT 2"), packet(b"\x1b\x01\0"), query("SELECT 1; SELECT 2")),
    (packet(b"\x1f"), CHANGE_USER, packet(bytes(20), 3)),
    (query("CREATE TEMPORARY TABLE IF NOT EXISTS t (a INT)"), query("SHOW WARNINGS"), query("DROP TEMPORARY TABLE t")),
    (query("SELECT no_such FROM fuzz"), query("SHOW WARNINGS"), query("USE app"), query("CALL no_such()")),
    (query("SELECT REPEAT('x', 100000)"), packet(b"\x0d"), packet(b"\x12\0\0\0\0"), packet(b"\x1d"), query("")),
)
"""Sessions after the login, as drivers have them; what answers are is not waited for."""
