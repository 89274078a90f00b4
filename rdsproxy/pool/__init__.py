"""A small set of database connections, lent to many sessions."""
