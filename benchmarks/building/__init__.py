"""What `benchmarks/build.py` is made of."""
