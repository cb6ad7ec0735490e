"""The environment of a project: two halves, of which one is `.venv` and the other is the spare."""
