"""What envkit leaves when it is stopped half-way."""
