"""The wire: bytes <-> packets <-> meaning. No I/O here, and no Twisted."""
