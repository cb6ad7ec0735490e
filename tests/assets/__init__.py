"""Large files: fetched, unpacked, placed."""
