"""The tests; a package, so that tests and benches can import ``tests.servers``."""
