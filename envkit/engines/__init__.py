"""The Docker Engine: where it is, what it is asked, and what its answers mean."""
