"""The elements of payloads: length-encoded integers and strings, NUL-terminated strings, fixed fields.

Readers take the payload and a position and give the value and the position after it. They raise ProtocolError
where the payload ends too early. Source: page_protocol_basic_data_types of the MySQL internals manual.
"""

from __future__ import annotations

from rdsproxy.protocol.errors import ProtocolError


def read_lenenc_int(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """Read a length-encoded integer.

    Raises ProtocolError also for 0xFB (NULL in a row) and 0xFF (the header of an ERR packet).
    """
    try:
        first = data[position]
    except IndexError:
        raise ProtocolError("packet ends where a length-encoded integer should begin") from None
    if first < 0xFB:
        return first, position + 1
    if first == 0xFC:
        end = position + 3
    elif first == 0xFD:
        end = position + 4
    elif first == 0xFE:
        end = position + 9
    else:
        raise ProtocolError(f"a length-encoded integer cannot begin with 0x{first:02X}")
    if end > len(data):
        raise ProtocolError("packet ends inside a length-encoded integer")
    return int.from_bytes(data[position + 1 : end], "little"), end


def lenenc_int(value: int) -> bytes:
    """Write a length-encoded integer of 0 to 2**64 - 1. Raises OverflowError outside of it."""
    if 0 <= value < 0xFB:
        return bytes((value,))
    if 0 <= value <= 0xFFFF:
        return b"\xfc" + value.to_bytes(2, "little")
    if 0 <= value <= 0xFFFFFF:
        return b"\xfd" + value.to_bytes(3, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def read_lenenc_bytes(data: bytes | bytearray, position: int) -> tuple[bytes, int]:
    """Read a length-encoded string."""
    length, position = read_lenenc_int(data, position)
    return read_fixed_bytes(data, position, length)


def lenenc_bytes(value: bytes) -> bytes:
    """Write a length-encoded string."""
    return lenenc_int(len(value)) + value


def read_nul_bytes(data: bytes | bytearray, position: int) -> tuple[bytes, int]:
    """Read a string that ends with a NUL; the value is without it."""
    end = data.find(b"\0", position)
    if end < 0:
        raise ProtocolError("packet ends inside a NUL-terminated string")
    return bytes(data[position:end]), end + 1


def nul_bytes(value: bytes) -> bytes:
    """Write a NUL-terminated string.

    Raises ProtocolError for a NUL inside: what stands behind it would be read as the next field.
    """
    if b"\0" in value:
        raise ProtocolError("a NUL inside a NUL-terminated string")
    return value + b"\0"


def read_fixed_bytes(data: bytes | bytearray, position: int, length: int) -> tuple[bytes, int]:
    """Read a string of `length` bytes."""
    end = position + length
    if end > len(data):
        raise ProtocolError("packet ends inside a string")
    return bytes(data[position:end]), end


def read_fixed_int(data: bytes | bytearray, position: int, length: int) -> tuple[int, int]:
    """Read a little-endian unsigned integer of `length` bytes."""
    end = position + length
    if end > len(data):
        raise ProtocolError("packet ends inside an integer")
    return int.from_bytes(data[position:end], "little"), end
