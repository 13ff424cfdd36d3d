"""Benchmarks: `python -m bench`, `python -m bench --only rollback`. What is measured: docs/performance.md."""
