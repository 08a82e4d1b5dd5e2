"""`python -m bench load`: ten thousand connections against the cloud, on the cores that it shares with who asks."""

from bench.load.measuring import add_arguments, measure

__all__ = ["add_arguments", "measure"]
