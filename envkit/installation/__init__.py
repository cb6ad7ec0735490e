"""Installations: from locks to an environment that is what they say."""
