"""The edge of the tools: what they are declared as, how their schemas are kept small, and where an error becomes a sentence.

`answering` is the one place that turns our errors into tool errors; anything else stays a crash.
"""

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ValidationError

from mcp_server import caller
from mcp_server.device import Device
from shared.errors import SunaivaError
from shared.ids import MemoryId

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_WRONG_SAID_MAX = 3
_NAME_CHARS_MAX = 40  # of a wrong name; longer ones are no slip of a key

READ = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ADD = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ERASE = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


def note_read(device: Device, memories: Sequence[MemoryId]) -> None:
    """What an answer quotes was read, also where reading was not the purpose."""
    if memories:
        with device.vault.writing() as db:
            device.note(db, "read", memories, client=caller.name())


class _ClearTool(Tool):
    """Says of wrong arguments which one, and what it takes, instead of how the validator put it; and of one that it does not know,
    which the SDK would leave out: a mistyped filter must not answer with everything."""

    async def run(self, arguments: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        known = list(self.parameters["properties"])
        unknown = {name: _no_argument(name, known) for name in arguments if name not in known}
        if unknown:
            raise ToolError(_sentence(self.name, unknown))
        try:
            return await super().run(arguments, *args, **kwargs)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(_sentence(self.name, _complaints(error.__cause__))) from error


def _no_argument(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower()[:_NAME_CHARS_MAX], known, n=2)
    instead = f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(known)}"
    return f"no such argument; {instead}"


def _complaints(error: ValidationError) -> dict[str, str]:
    wrong: dict[str, str] = {}
    for each in error.errors(include_url=False, include_context=False):
        # Of a choice of types, each is complained about by itself; the first says enough.
        name = ".".join(
            str(part) for part in each["loc"] if str(part)[:1].islower() or str(part).isdigit()
        )
        why = each["msg"].removeprefix("Value error, ")
        wrong.setdefault(name or "arguments", why[:1].lower() + why[1:])
    return wrong


def _sentence(tool: str, wrong: Mapping[str, str]) -> str:
    said = "; ".join(
        f"{name[:_NAME_CHARS_MAX]}: {why}" for name, why in list(wrong.items())[:_WRONG_SAID_MAX]
    )
    return (
        f"{tool} cannot be called like this. {said}. Correct that and call again; nothing was done."
    )


def answering(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """What we raise on purpose becomes text the model can act on; anything else stays a crash."""

    @functools.wraps(call)
    def answer(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except SunaivaError as error:
            raise ToolError(str(error)) from error

    return answer


def tool(
    call: Callable[..., Any],
    title: str,
    description: str,
    annotations: ToolAnnotations,
    *,
    name: str | None = None,
) -> Tool:
    return _ClearTool.from_function(
        answering(call), name=name, title=title, description=description, annotations=annotations
    )


def slim(tool: Tool) -> Tool:
    """The same schemas without what no reader needs: generated titles, null defaults, `anyOf` with null."""
    metadata = tool.fn_metadata.model_copy()
    metadata.output_schema = _slimmed(metadata.output_schema)
    return tool.model_copy(
        update={"parameters": _slimmed(tool.parameters), "fn_metadata": metadata}
    )


def _slimmed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_slimmed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    slim = {
        name: {key: _slimmed(value) for key, value in part.items()}
        if name == "properties"
        else _slimmed(part)
        for name, part in schema.items()
        if not (name == "title" and isinstance(part, str))
        and not (name == "default" and part in (None, [], False))
    }
    choices = [choice for choice in slim.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del slim["anyOf"]
        slim = {**choices[0], **slim}
    return slim
