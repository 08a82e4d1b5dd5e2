"""Prompts a person can pick in their assistant. They only say which tools to call; nothing is read here."""

from mcp.server import MCPServer


def add_prompts(server: MCPServer) -> None:
    """Register every prompt on the server."""

    @server.prompt(title="Recap", description="What was said and decided lately.")
    def recap(since: str = "last week") -> str:
        return (
            f"Call `browse` with when={since!r} and `context`, then tell me in a few lines what we talked about, what was "
            "decided, and what is still open. Name dates. Say so if there is little."
        )

    @server.prompt(
        name="what-do-you-know-about",
        title="What do you know about …",
        description="All about one thing.",
    )
    def what_do_you_know_about(topic: str) -> str:
        return (
            f"Call `recall` with query={topic!r}, follow the cursor once if it matters, and tell me what my memory holds about "
            "it: the facts with their dates, the newer before the older, and what contradicts. Nothing from outside."
        )

    @server.prompt(
        name="weekly-review", title="Weekly review", description="Look back, tidy up, look ahead."
    )
    def weekly_review() -> str:
        return (
            "Let us review my week. Call `context`, then `browse` with when='last week'. List decisions, promises with their "
            "dates, and new preferences. Then call `resolve`, show me each finding and ask me what to keep. At the end, ask "
            "me what should be remembered, and `remember` it."
        )
