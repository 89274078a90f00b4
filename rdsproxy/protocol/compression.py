"""The compressed protocol: the stream of packets, cut into frames that are compressed one by one.

A frame is a 7-byte header (3 bytes of length on the wire, a sequence id, 3 bytes of length before compression) and its
body; 0 as the second length means that the body is as it was. Frames number a command and its reply together, from 0,
apart from the packets in them, and end anywhere: in the middle of a packet, or behind several.

Source: "Compression" of the MySQL internals manual (page_protocol_basic_compression).
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Final, Protocol

import zstandard

from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE as PACKET_HEADER

HEADER_SIZE: Final = 7
MAX_BODY: Final = 0xFFFFFF
"""Bytes of one frame, before and after compression: so much memory one frame may ask for, whatever it contains."""
WORTHWHILE: Final = 50
"""Bytes below which servers do not compress either."""

DEFAULT_ZSTD_LEVEL: Final = 3
HIGHEST_ZSTD_LEVEL: Final = 22
_ZSTD_WINDOW: Final = 1 << 24  # bytes; more than one frame has is never needed
_PIECE: Final = 1 << 16  # bytes of a long reply that are compressed together


class Algorithm(Protocol):
    """One way to compress. It keeps nothing from one body to the next."""

    def compress(self, data: bytes) -> bytes:
        """Give the body of a frame."""

    def decompress(self, body: bytes, size: int) -> bytes:
        """Give what was compressed, at most a byte more than `size`. Raises ProtocolError if it cannot be read."""


class Zlib:
    """CLIENT_COMPRESS."""

    def compress(self, data: bytes) -> bytes:
        """Give the body of a frame."""
        return zlib.compress(data)

    def decompress(self, body: bytes, size: int) -> bytes:
        """Give what was compressed, at most a byte more than `size`. Raises ProtocolError if it cannot be read."""
        try:
            return zlib.decompressobj().decompress(body, size + 1)
        except zlib.error as error:
            raise ProtocolError(f"a compressed frame that zlib cannot read: {error}") from None


class Zstd:
    """CLIENT_ZSTD_COMPRESSION_ALGORITHM, at the client's level (1 to 22)."""

    def __init__(self, level: int) -> None:
        self.level = level if 1 <= level <= HIGHEST_ZSTD_LEVEL else DEFAULT_ZSTD_LEVEL
        self._compressor = zstandard.ZstdCompressor(level=self.level)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)

    def compress(self, data: bytes) -> bytes:
        """Give the body of a frame."""
        return self._compressor.compress(data)

    def decompress(self, body: bytes, size: int) -> bytes:
        """Give what was compressed, at most a byte more than `size`. Raises ProtocolError if it cannot be read."""
        try:
            # Not in one step: that would believe the size that the body itself claims.
            return self._decompressor.stream_reader(BytesIO(body)).read(size + 1)
        except zstandard.ZstdError as error:
            raise ProtocolError(f"a compressed frame that zstd cannot read: {error}") from None


class Frames:
    """Both directions of one connection, from behind its login on."""

    __slots__ = ("_algorithm", "_buffer", "_unsent", "sequence")

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        self._buffer = bytearray()
        self._unsent = bytearray()
        self.sequence = 0
        """The id of the next frame, whoever sends it."""

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrive. They stay compressed until they are asked for."""
        self._buffer += data

    @property
    def pending(self) -> int:
        """Bytes taken and not asked for yet."""
        return len(self._buffer)

    def next(self) -> bytes | None:
        """Give the content of the next frame, or None when more bytes are needed.

        To be called when its turn has come, not before the reply to an earlier command is complete. Raises
        ProtocolError for one out of order, and for a body that is not what its header says.
        """
        buffer = self._buffer
        if len(buffer) < HEADER_SIZE:
            return None
        length = int.from_bytes(buffer[:3], "little")
        if len(buffer) < HEADER_SIZE + length:
            return None
        sequence = buffer[3]
        size = int.from_bytes(buffer[4:HEADER_SIZE], "little")
        # A new command begins at 0.
        if sequence not in (0, self.sequence):
            raise ProtocolError(f"a compressed frame with sequence id {sequence}, not {self.sequence}")
        body = bytes(buffer[HEADER_SIZE : HEADER_SIZE + length])
        del buffer[: HEADER_SIZE + length]
        self.sequence = (sequence + 1) & 0xFF
        if not size:
            return body
        content = self._algorithm.decompress(body, size)
        if len(content) != size:
            raise ProtocolError(f"a compressed frame whose {size} bytes are {len(content)} or more")
        return content

    def wrap(self, data: bytes) -> bytes:
        """Give the frames that carry `data` to the other side."""
        return b"".join(self._frame(data[start : start + _PIECE]) for start in range(0, len(data), _PIECE))

    def wrap_packets(self, data: bytes) -> bytes:
        """Do as `wrap`, but end frames where packets end; what is not yet a whole packet is kept until it is.

        Some drivers (Connector/Python) read a packet from two frames at most, as servers send it.
        """
        unsent = self._unsent
        unsent += data
        frames = []
        start = position = 0
        while len(unsent) - position >= PACKET_HEADER:
            end = position + PACKET_HEADER + int.from_bytes(unsent[position : position + 3], "little")
            if end > len(unsent):
                break
            position = end
            if position - start >= _PIECE:
                frames.append(self._frame(bytes(unsent[start:position])))
                start = position
        if position > start:
            frames.append(self._frame(bytes(unsent[start:position])))
        del unsent[:position]
        return b"".join(frames)

    def _frame(self, data: bytes) -> bytes:
        if len(data) > MAX_BODY:
            return self._frame(data[:MAX_BODY]) + self._frame(data[MAX_BODY:])
        size = 0
        if len(data) >= WORTHWHILE:
            body = self._algorithm.compress(data)
            if len(body) < len(data):
                size, data = len(data), body
        header = len(data).to_bytes(3, "little") + bytes((self.sequence,)) + size.to_bytes(3, "little")
        self.sequence = (self.sequence + 1) & 0xFF
        return header + data
