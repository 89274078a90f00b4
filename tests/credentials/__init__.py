"""Users and passwords, and where they come from."""
