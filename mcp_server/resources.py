"""Memories as MCP resources: one, a conversation, the profile, the latest, the spaces. Text for reading; reads only."""

from collections.abc import Iterator
from contextlib import contextmanager

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mcp_server import caller, context, memory, permissions, search
from mcp_server.device import Device
from mcp_server.model import Memory
from mcp_server.tools import OpenDevice
from mcp_server.vault import store
from mcp_server.vault.store import Selection
from shared.errors import InvalidError, NotFoundError, SunaivaError

_RECENT = 20
_TURNS_MAX = 1_000
_PROFILE_TOKENS = 1_500


def add_resources(server: MCPServer, open_device: OpenDevice) -> None:
    """Register every resource on the server."""
    _add_overviews(server, open_device)
    _add_contents(server, open_device)


def _add_overviews(server: MCPServer, open_device: OpenDevice) -> None:
    @server.resource(
        "memory://profile", title="Profile", description="Preferences and what is pinned."
    )
    def profile() -> str:
        with _told():
            device, client = open_device(), caller.name()
            sections = context.gather(
                device,
                topic=None,
                spaces=_readable(device, client),
                max_tokens=_PROFILE_TOKENS,
                client=client,
            )
            return "\n\n".join(
                "\n".join([f"# {section.title}", *(context.line(told) for told in section.told)])
                for section in sections
            )

    @server.resource("memory://recent", title="Recent", description="The latest memories.")
    def recent() -> str:
        with _told():
            device, client = open_device(), caller.name()
            selection = Selection(spaces=_readable(device, client))
            memories, _ = search.browse(
                device, selection, limit=_RECENT, cursor=None, client=client
            )
            return "\n".join(context.shown(each) for each in memories)

    @server.resource("memory://spaces", title="Spaces", description="The spaces and their sizes.")
    def spaces() -> str:
        with _told():
            device, client = open_device(), caller.name()
            allowed = _readable(device, client)
            with device.vault.reading() as db:
                counts = store.spaces(db)
            return "\n".join(
                f"{each.space}: {each.memories}"
                for each in counts
                if allowed is None or each.space in allowed
            )


def _add_contents(server: MCPServer, open_device: OpenDevice) -> None:
    @server.resource("memory://{id}", title="Memory", description="One memory, whole.")
    def one(id: str) -> str:
        with _told():
            device, client = open_device(), caller.name()
            allowed = _readable(device, client)
            with device.vault.reading() as db:
                found = memory.present(db, id).memory
            if allowed is not None and found.space not in allowed:
                raise memory.absent(id)
            _note_read(device, client, [found])
            return search.line(found, found.text)

    @server.resource(
        "conversation://{id}", title="Conversation", description="A conversation's turns."
    )
    def conversation(id: str) -> str:
        with _told():
            device, client = open_device(), caller.name()
            allowed = _readable(device, client)
            with device.vault.reading() as db:
                turns = [
                    row.memory
                    for row in store.conversation_turns(db, id, limit=_TURNS_MAX)
                    if allowed is None or row.memory.space in allowed
                ]
            if not turns:
                raise NotFoundError(f"There is no conversation {id!r}.")
            _note_read(device, client, turns)
            return "\n".join(search.line(turn, turn.text) for turn in turns)


def _readable(device: Device, client: str) -> tuple[str, ...] | None:
    with device.vault.reading() as db:
        return permissions.readable(device, db, client, None)


def _note_read(device: Device, client: str, memories: list[Memory]) -> None:
    with device.vault.writing() as db:
        ids = [each.id for each in memories]
        device.note(db, "read", ids, client=client)


@contextmanager
def _told() -> Iterator[None]:
    """Our errors as the resource errors of the protocol."""
    try:
        yield
    except (NotFoundError, InvalidError) as error:  # what is no id names nothing
        raise ResourceNotFoundError(str(error)) from error
    except SunaivaError as error:
        raise ResourceError(str(error)) from error
