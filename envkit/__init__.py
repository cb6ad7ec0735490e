"""envkit: one lock, obeyed everywhere."""

__version__ = "0.1.0"
