"""One step of synchronisation: fetch, take in, seal, send, keep house."""
