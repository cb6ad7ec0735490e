"""GPUs: what may be seen, who has them, every door that obeys."""
