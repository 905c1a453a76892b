"""Benchmarks: one file a question, rivals beside us, every answer asserted before it is timed."""
