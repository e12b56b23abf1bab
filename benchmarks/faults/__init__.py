"""Faults, load and hostile input, with counts: `python -m benchmarks.faults`."""
