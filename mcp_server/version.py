"""The one place the version is written; the wheel, `sunaiva --version` and the handshake read it."""

__version__ = "0.1.0"
