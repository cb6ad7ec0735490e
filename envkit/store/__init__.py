"""The store: what environments are made of, kept once for all projects of a user."""
