"""GPUs: which there are, which may be seen, who holds them."""
