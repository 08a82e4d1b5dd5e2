"""What a relay must know of a session to tell it to another agent. Pure: bytes in, bytes out.

A question of the agent (an elicitation) goes to the assistant under an id of ours that names the agent which asked:
an answer meant for an agent that died must never answer the next one's question, least of all "forget this?".
"""

import json
from typing import Any, TypeGuard

# Requests kept for repeating. Larger ones than fit are still answered, but not repeated if the agent dies.
KEPT_BYTES_MAX = 64_000_000

# Answered only when the assistant goes: repeated for a new agent, but nobody waits for it.
_ENDLESS = "subscriptions/listen"
_INTRODUCTION = "sunaiva-relay-initialize"
_INTERNAL_ERROR = -32603
_TOO_LARGE = (
    "The memory agent stopped while it worked on this, and it was too large to keep. Send it again."
)


class Retelling:
    """One assistant's session, as far as it is still open."""

    def __init__(self) -> None:
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._unanswered: dict[str | int, bytes | None] = {}
        self._endless: set[str | int] = set()
        self._kept_bytes = 0
        self._agents = 0
        self._asked: dict[str, Any] = {}

    @property
    def open(self) -> bool:
        return bool(self._unanswered)

    @property
    def awaited(self) -> bool:
        return any(request_id not in self._endless for request_id in self._unanswered)

    def from_assistant(self, line: bytes) -> bytes | None:
        """What the agent shall read instead of this line; None if it concerns no living agent."""
        message = _parsed(line)
        if message is None:
            return line
        if "method" not in message:
            return self._answer_of_assistant(message, line)
        request_id = message.get("id")
        if "id" not in message:
            self._note_notification(message, line)
        elif _is_id(request_id):
            self._note_request(message, request_id, line)
        return line

    def from_agent(self, line: bytes) -> bytes | None:
        """What the assistant shall read instead of this line."""
        message = _parsed(line)
        if message is None:
            return line
        if "method" not in message:
            if message.get("id") == _INTRODUCTION:
                return None
            self._settle(message.get("id"))
            return line
        if "id" in message:
            ours = self._our_id(message["id"])
            self._asked[ours] = message["id"]
            return _dumped({**message, "id": ours})
        if message["method"] == "notifications/cancelled":
            return self._cancelled_by_agent(message, line)
        return line

    def agent_gone(self) -> list[bytes]:
        """For the assistant: questions nobody waits for any more, and requests that cannot be repeated."""
        questions = [
            _dumped(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": ours},
                }
            )
            for ours in self._asked
        ]
        self._asked.clear()
        lost = [request_id for request_id, line in self._unanswered.items() if line is None]
        for request_id in lost:
            self._settle(request_id)
        return questions + [no_answer(request_id, _TOO_LARGE) for request_id in lost]

    def retell(self) -> list[bytes]:
        """For a new agent: who the assistant is, and what still waits for an answer."""
        self._agents += 1
        told: list[bytes] = []
        if self._initialize is not None and self._initialize["id"] not in self._unanswered:
            told.append(_dumped({**self._initialize, "id": _INTRODUCTION}))
        if self._initialized is not None:
            told.append(self._initialized)
        return told + [line for line in self._unanswered.values() if line is not None]

    def give_up(self, sentence: str) -> list[bytes]:
        """For the assistant: an error for everything that waits."""
        errors = [no_answer(request_id, sentence) for request_id in self._unanswered]
        self._unanswered.clear()
        self._endless.clear()
        self._kept_bytes = 0
        return errors

    def _note_request(self, message: dict[str, Any], request_id: str | int, line: bytes) -> None:
        self._settle(request_id)
        fits = self._kept_bytes + len(line) <= KEPT_BYTES_MAX
        self._unanswered[request_id] = line if fits else None
        self._kept_bytes += len(line) if fits else 0
        if message["method"] == _ENDLESS:
            self._endless.add(request_id)
        if message["method"] == "initialize":
            self._initialize = message
            self._initialized = None

    def _note_notification(self, message: dict[str, Any], line: bytes) -> None:
        if message["method"] == "notifications/initialized":
            self._initialized = line
        elif message["method"] == "notifications/cancelled":
            params = message.get("params")
            self._settle(params.get("requestId") if isinstance(params, dict) else None)

    def _answer_of_assistant(self, message: dict[str, Any], line: bytes) -> bytes | None:
        ours = message.get("id")
        if "result" not in message and "error" not in message:
            return line
        if not isinstance(ours, str) or ours not in self._asked:
            return None
        return _dumped({**message, "id": self._asked.pop(ours)})

    def _cancelled_by_agent(self, message: dict[str, Any], line: bytes) -> bytes:
        params = message.get("params")
        if not isinstance(params, dict):
            return line
        ours = self._our_id(params.get("requestId"))
        if self._asked.pop(ours, None) is None:
            return line
        return _dumped({**message, "params": {**params, "requestId": ours}})

    def _our_id(self, asked: Any) -> str:
        return f"agent-{self._agents}-{json.dumps(asked)}"

    def _settle(self, request_id: Any) -> None:
        if _is_id(request_id):
            self._kept_bytes -= len(self._unanswered.pop(request_id, None) or b"")
            self._endless.discard(request_id)


def no_answer(request_id: str | int | None, sentence: str) -> bytes:
    return _dumped(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "error": {"code": _INTERNAL_ERROR, "message": sentence},
        }
    )


def _is_id(found: Any) -> TypeGuard[str | int]:
    """Anything else the agent takes for no id at all, and never answers."""
    return type(found) in (str, int)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for what is no object: the agent will say so itself."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _dumped(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
