"""Lets the tests import the project's modules, from whichever folder they are started."""
