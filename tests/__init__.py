"""The tests of envkit."""
