"""What the model reads of a memory. Pure."""

from mcp_server.index.words import HEAD_CHARS


def memory_text(text: str, speaker: str | None) -> str:
    """What is embedded of a memory: its speaker and its head. A window around it would measure worse."""
    head = text[:HEAD_CHARS]
    return f"{speaker}: {head}" if speaker else head
