"""What a failover costs: ``python -m tests.bench.failover`` (``make bench-failover``); see docs/benchmarks.md."""
