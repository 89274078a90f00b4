"""A private database and a proxy before it, to try rdsproxy on one machine: ``python -m rdsproxy.demo``."""
