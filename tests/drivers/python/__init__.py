"""Python's programs, each run as a module of its own process."""
