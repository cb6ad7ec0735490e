"""Benchmarks, each run as a script."""
