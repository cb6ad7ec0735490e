"""Locks: what a project asks for, what was made of it, and the making."""
