"""`python -m bench push`: sealed batches pushed through the real HTTP server, on one vault and on many."""

from bench.push.measuring import add_arguments, measure

__all__ = ["add_arguments", "measure"]
