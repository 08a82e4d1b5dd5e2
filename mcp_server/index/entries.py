"""What the indexes take of a memory: its line of the catalogue, and the text that is embedded. Pure."""

from mcp_server import cues
from mcp_server.index.catalogue import Entry
from mcp_server.index.words import HEAD_CHARS
from mcp_server.model import Memory
from shared.clock import to_ms


def memory_text(text: str, speaker: str | None) -> str:
    """What is embedded of a memory: its speaker and its head. A window around it would measure worse."""
    head = text[:HEAD_CHARS]
    return f"{speaker}: {head}" if speaker else head


def entry_of(row: int, memory: Memory) -> Entry:
    when = memory.occurred_at or memory.created_at
    return Entry(
        row=row,
        space=memory.space,
        kind=memory.kind,
        trust=memory.source.trust,
        speaker=memory.speaker,
        conversation=memory.conversation,
        position=memory.position,
        when_ms=to_ms(when),
        valid_from_ms=to_ms(memory.valid_from or when),
        valid_to_ms=None if memory.valid_to is None else to_ms(memory.valid_to),
        hidden=memory.archived or memory.superseded_by is not None,
        chars=len(memory.text),
        question="?" in memory.text,
        pinned=memory.pinned,
        importance=memory.importance,
        flags=cues.flags(memory.text, memory.speaker, memory.source.trust),
    )
