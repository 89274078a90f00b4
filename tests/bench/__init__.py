"""Benchmarks on loopback: ``python -m tests.bench`` (``make bench``); how to read them: docs/benchmarks.md."""
