"""Sealed batches pushed through the real HTTP server, on one vault and on many, beside the same writes without a server."""
