"""`python -m bench sync`: what memories cost to seal, open, apply and carry, and how soon another device has them."""

from bench.sync.measuring import add_arguments, measure

__all__ = ["add_arguments", "measure"]
