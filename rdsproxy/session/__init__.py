"""Decisions about one client's session, without I/O."""
