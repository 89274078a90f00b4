"""Packet boundaries: a 3-byte length, a sequence id, a payload; payloads of 16 MiB and more span several packets.

Source: "MySQL Packets" in the MySQL internals manual (page_protocol_basic_packets).
"""

from __future__ import annotations

from struct import Struct

from rdsproxy.protocol.errors import ProtocolError

HEADER_SIZE = 4
MAX_PAYLOAD = 0xFFFFFF
"""A packet with this payload length is continued by the next one."""

_header = Struct("<I")
pack_header = _header.pack
unpack_header = _header.unpack_from


def frame(payload: bytes, sequence: int = 0) -> bytes:
    """Give the packets that carry `payload`, the first numbered `sequence` (modulo 256)."""
    size = len(payload)
    if size < MAX_PAYLOAD:
        return pack_header(size | (sequence & 0xFF) << 24) + payload
    pieces = []
    for start in range(0, size + 1, MAX_PAYLOAD):
        piece = payload[start : start + MAX_PAYLOAD]
        pieces.append(pack_header(len(piece) | (sequence & 0xFF) << 24))
        pieces.append(piece)
        sequence += 1
    return b"".join(pieces)


def payload_of(packets: bytes) -> bytes:
    """Give the payload that `frame` has put into these packets."""
    if len(packets) < HEADER_SIZE + MAX_PAYLOAD:
        return packets[HEADER_SIZE:]
    step = HEADER_SIZE + MAX_PAYLOAD
    return b"".join(packets[start + HEADER_SIZE : start + step] for start in range(0, len(packets), step))


def sequence_after(packets: bytes) -> int:
    """Give the sequence id behind those of whole packets."""
    position = sequence = 0
    while position < len(packets):
        word: int = unpack_header(packets, position)[0]
        position += HEADER_SIZE + (word & MAX_PAYLOAD)
        sequence = (word >> 24) + 1
    return sequence & 0xFF


class PacketReader:
    """Whole payloads out of a stream of bytes, for the places where speed does not matter.

    `limit` bounds one payload, in bytes: whoever sends more is refused before it is stored.
    """

    __slots__ = ("_buffer", "_parts", "_size", "limit", "sequence")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sequence = 0
        """The sequence id that the next packet must carry."""
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrive."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Give the next whole payload, or None when more bytes are needed.

        Raises ProtocolError for a wrong sequence id and for a payload above the limit.
        """
        buffer = self._buffer
        while len(buffer) >= HEADER_SIZE:
            word: int = unpack_header(buffer)[0]
            length = word & MAX_PAYLOAD
            if word >> 24 != self.sequence:
                raise ProtocolError(
                    f"packet out of order: sequence id {word >> 24} where {self.sequence} was expected"
                )
            if self._size + length > self.limit:
                raise TooBigError(f"packet of {self._size + length} bytes or more is above the limit of {self.limit}")
            if len(buffer) < HEADER_SIZE + length:
                return None
            self._parts.append(bytes(buffer[HEADER_SIZE : HEADER_SIZE + length]))
            self._size += length
            del buffer[: HEADER_SIZE + length]
            self.sequence = (self.sequence + 1) & 0xFF
            if length < MAX_PAYLOAD:
                payload = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._size = 0
                return payload
        return None

    @property
    def pending(self) -> int:
        """Bytes taken and not yet given out."""
        return len(self._buffer) + self._size

    def take_rest(self) -> bytes:
        """Give the bytes that follow the last whole payload, and forget them."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class TooBigError(ProtocolError):
    """A payload is larger than the receiver allows."""


class UploadReader:
    """Follows the packets of a LOAD DATA LOCAL upload up to the empty one that ends it, storing none of them.

    The client numbers its packets after what it has seen; the server counts what it has sent. `shift` is the
    difference: it is added to each sequence id. `sequence` is the one that the client's first packet must have.
    """

    __slots__ = ("_continues", "_left", "_shift", "_tail", "done", "next_sequence", "packets", "rest")

    def __init__(self, shift: int, sequence: int) -> None:
        self._shift = shift
        self.next_sequence = sequence
        """The sequence id of the client's next packet; once done, the one that it expects of the answer."""
        self._left = 0
        self._tail = b""
        self._continues = False
        self.packets = 0
        """Packets seen so far, the empty one included."""
        self.done = False
        self.rest = b""
        """Once done: the bytes behind the upload."""

    def feed(self, data: bytes) -> bytes:
        """Give what goes on to the server of `data`. Raises ProtocolError for a wrong sequence id."""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        buffer = bytearray(data)
        position = self._left
        size = len(buffer)
        while size - position >= HEADER_SIZE:
            length = unpack_header(buffer, position)[0] & MAX_PAYLOAD
            sequence = buffer[position + 3]
            if sequence != self.next_sequence:
                # The server would wait for the right one, and the client for the server.
                raise ProtocolError(f"a file's packet with sequence id {sequence}, not {self.next_sequence}")
            self.packets += 1
            self.next_sequence = (sequence + 1) & 0xFF
            buffer[position + 3] = (sequence + self._shift) & 0xFF
            position += HEADER_SIZE + length
            # An empty packet right behind a full one only ends that one's payload.
            if not length and not self._continues:
                self.done = True
                self.rest = data[position:]
                return bytes(buffer[:position])
            self._continues = length == MAX_PAYLOAD
        if position >= size:
            self._left = position - size
            return bytes(buffer)
        self._left = 0
        self._tail = data[position:]
        return bytes(buffer[:position])
