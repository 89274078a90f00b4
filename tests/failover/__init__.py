"""A test bed for failovers: servers that replicate, networks and names that fail, clients that keep account."""
