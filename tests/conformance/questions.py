"""Fixture tools that ask the client: by the SDK's resolvers, as our `forget` does, or with the results spelled out.

A resolver asks in the middle of the call on the older wire and by `input_required` on the newer one.
"""

from collections.abc import Callable
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.resolve import Sample
from mcp.types import (
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    InputResponse,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

_TOKENS = 100
_ROUNDS = {
    "step1": ("Step 1: What is your name?", "name"),
    "step2": ("Step 2: What is your favorite color?", "color"),
}


class Person(BaseModel):
    username: Annotated[str, Field(description="User's response")]
    email: Annotated[str, Field(description="User's email address")]


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Annotated[str, Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})] = (
        "active"
    )
    verified: bool = True


def _titled(ordinal: str) -> list[Any]:
    return [
        {"const": f"value{number}", "title": f"{name} {ordinal}"}
        for number, name in enumerate(("First", "Second", "Third"), 1)
    ]


_OPTIONS: list[Any] = ["option1", "option2", "option3"]
_LEGACY: dict[str, Any] = {
    "enum": ["opt1", "opt2", "opt3"],
    "enumNames": ["Option One", "Option Two", "Option Three"],
}


class Choices(BaseModel):
    untitled_single: Annotated[
        str, Field(alias="untitledSingle", json_schema_extra={"enum": _OPTIONS})
    ]
    titled_single: Annotated[
        str, Field(alias="titledSingle", json_schema_extra={"oneOf": _titled("Option")})
    ]
    legacy: Annotated[str, Field(alias="legacyEnum", json_schema_extra=_LEGACY)]
    untitled_multi: Annotated[
        list[str],
        Field(
            alias="untitledMulti",
            json_schema_extra={"items": {"type": "string", "enum": _OPTIONS}},
        ),
    ]
    titled_multi: Annotated[
        list[str],
        Field(alias="titledMulti", json_schema_extra={"items": {"anyOf": _titled("Choice")}}),
    ]


def add_questions(server: MCPServer[Any]) -> None:
    """Register every tool, and the prompt, that asks."""
    _add_forms(server)
    _add_samples(server)
    _add_one_round(server)
    _add_several(server)
    _add_stateful(server)


def _add_forms(server: MCPServer[Any]) -> None:
    def for_a_person(message: str) -> Elicit[Person]:
        return Elicit(message, Person)

    def for_defaults() -> Elicit[Defaults]:
        return Elicit("Who are you?", Defaults)

    def for_choices() -> Elicit[Choices]:
        return Elicit("Which ones?", Choices)

    @server.tool()
    def test_elicitation(
        message: str, asked: Annotated[ElicitationResult[Person], Resolve(for_a_person)]
    ) -> str:
        """Asks the person."""
        return f"User response: {asked.model_dump_json()}"

    @server.tool()
    def test_elicitation_sep1034_defaults(
        asked: Annotated[ElicitationResult[Defaults], Resolve(for_defaults)],
    ) -> str:
        """Asks with defaults."""
        return f"Elicitation completed: {asked.model_dump_json()}"

    @server.tool()
    def test_elicitation_sep1330_enums(
        asked: Annotated[ElicitationResult[Choices], Resolve(for_choices)],
    ) -> str:
        """Asks with every kind of enumeration."""
        return f"Elicitation completed: {asked.model_dump_json()}"

    @server.tool()
    def test_streaming_elicitation(
        asked: Annotated[ElicitationResult[Defaults], Resolve(for_defaults)],
    ) -> str:
        """Asks on a stream."""
        return asked.action


def _add_samples(server: MCPServer[Any]) -> None:
    def for_a_sample(prompt: str) -> Sample:
        return Sample([_said(prompt)], max_tokens=_TOKENS)

    def for_a_fixed_sample() -> Sample:
        return Sample([_said("Anything")], max_tokens=_TOKENS)

    @server.tool()
    def test_sampling(
        prompt: str, sampled: Annotated[CreateMessageResult, Resolve(for_a_sample)]
    ) -> str:
        """Asks the client's model."""
        return f"LLM response: {_text(sampled)}"

    @server.tool()
    def test_missing_capability(
        sampled: Annotated[CreateMessageResult, Resolve(for_a_fixed_sample)],
    ) -> str:
        """Needs what the client did not declare."""
        return _text(sampled)


def _add_one_round(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Asks for a name."""
        answer = _answer(ctx, "user_name")
        if not isinstance(answer, ElicitResult) or not answer.content:
            return _ask(user_name=_form("What is your name?", "name"))
        return f"Hello, {answer.content['name']}!"

    @server.tool()
    def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        """Asks the client's model."""
        answer = _answer(ctx, "capital_question")
        if answer is None:
            return _ask(capital_question=_sample("What is the capital of France?"))
        return answer.model_dump_json()

    @server.tool()
    def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        """Asks for the client's roots."""
        answer = _answer(ctx, "client_roots")
        return _ask(client_roots=ListRootsRequest()) if answer is None else answer.model_dump_json()

    @server.prompt(description="Asks for its context.")
    def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        answer = _answer(ctx, "user_context")
        if answer is None:
            return _ask(user_context=_form("What context should the prompt use?", "context"))
        return answer.model_dump_json()


def _add_several(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        """Asks three things at once."""
        if ctx.input_responses is None:
            return _ask(
                "asked",
                user_name=_form("What is your name?", "name"),
                greeting=_sample("Generate a greeting"),
                client_roots=ListRootsRequest(),
            )
        return ", ".join(ctx.input_responses)

    @server.tool()
    def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        """Asks only what the client said it can answer."""
        able = ctx.client_capabilities or ClientCapabilities()
        questions: dict[str, InputRequest] = {}
        if able.elicitation is not None:
            questions["user_name"] = _form("What is your name?", "name")
        if able.sampling is not None:
            questions["greeting"] = _sample("Generate a greeting")
        return _ask(**questions) if questions else "nothing to ask"


def _add_stateful(server: MCPServer[Any]) -> None:
    def confirmed(words: str) -> Callable[[Context], str | InputRequiredResult]:
        def call(ctx: Context) -> str | InputRequiredResult:
            if ctx.request_state != "asked":
                return _ask("asked", confirm=_form("Please confirm", "ok", "boolean"))
            return words

        return call

    for name in ("request_state", "tampered_state"):
        server.add_tool(
            confirmed("state-ok"),
            name=f"test_input_required_result_{name}",
            description="Asks, and keeps its place in the request state.",
        )

    @server.tool()
    def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        """Asks twice."""
        following = {None: "step1", "step1": "step2"}.get(ctx.request_state)
        if following is None:
            return "done"
        message, field = _ROUNDS[following]
        return _ask(following, **{following: _form(message, field)})


def _answer(ctx: Context, key: str) -> InputResponse | None:
    return (ctx.input_responses or {}).get(key)


def _ask(state: str | None = None, /, **questions: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=questions, request_state=state)


def _form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(words: str) -> CreateMessageRequest:
    params = CreateMessageRequestParams(messages=[_said(words)], max_tokens=_TOKENS)
    return CreateMessageRequest(params=params)


def _said(words: str) -> SamplingMessage:
    return SamplingMessage(role="user", content=TextContent(type="text", text=words))


def _text(sampled: CreateMessageResult) -> str:
    return sampled.content.text if isinstance(sampled.content, TextContent) else "no text"
