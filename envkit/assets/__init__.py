"""Large files that pip cannot bring: declared once, the same on every machine."""
