"""Whatever comes in, what comes out is a value or an error that a user can read.

With `--thorough` there are many times as many examples.
"""
