"""Floods of connections that never log in, and what ordinary clients notice of them."""
