"""What the tests stand on: distributions made on the spot, and an index to serve them."""

from .catalogue import good, hostile
from .distributions import Distribution, Tampering
from .index import Index

__all__ = ["Distribution", "Index", "Tampering", "good", "hostile"]
