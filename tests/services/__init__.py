"""Tests of services, and of what stands in for them."""
