"""Bringing what a lock names: from the index at once where that is plain, or else by pip."""
