"""Commands about the devices of a vault: pair, devices."""

import sys
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.text import Text

from mcp_server.cli import qr, screen
from mcp_server.cli.accounts import DeviceName
from mcp_server.cli.screen import Json, printable
from mcp_server.cli.session import agent, confirmed
from mcp_server.client import AgentConnection
from mcp_server.syncing.roster import Device
from shared.errors import ForbiddenError, InvalidError

_HOW = (
    "This device syncs already. Run `sunaiva pair` on the new one; it shows a code, which you give here: `sunaiva pair CODE`. For a "
    "device without a person in front of it, make a code here with --one-time-code."
)
_ALONE = (
    "Pairing needs somebody at both devices who compares a number, and there is no terminal here. Make a code with `sunaiva pair "
    "--one-time-code` on a device that syncs, and give it on the other one. Nothing was shared."
)

devices = App(name="devices", help="List, rename and remove the devices that share this vault.")


def pair(
    code: str | None = None,
    /,
    one_time_code: Annotated[
        bool,
        Parameter(
            negative="",
            help="Make a code that lets one device in by itself, within ten minutes. Whoever has it gets your memories.",
        ),
    ] = False,
    name: DeviceName = None,
    json: Json = False,
) -> None:
    """Let a new device join: without a code on the new one, with the code it shows on one that syncs."""
    with agent() as connection:
        syncs = connection.call("sync_status", {})["state"] not in ("not_set_up", "removed")
        if syncs:
            if code is None and not one_time_code:
                raise InvalidError(_HOW)
            answer = _admit(connection, code, as_json=json)
        else:
            if one_time_code and code is None:
                raise InvalidError(
                    "A one-time code is made on a device that syncs. Give it here: `sunaiva pair CODE`."
                )
            answer = _join(connection, code, name, as_json=json)
    screen.emit(answer, as_json=json, show=lambda _: _show_paired(answer, syncs=syncs))


@devices.default
def list_devices(json: Json = False) -> None:
    """List the devices that share this vault."""
    with agent() as connection:
        answer = connection.call("devices", {})
    screen.emit(answer, as_json=json, show=_show_devices)


@devices.command
def rename(device: str, name: str, /, json: Json = False) -> None:
    """Give a device another name. The server never sees it."""
    with agent() as connection, screen.watching("Renaming") as events:
        answer = connection.call("device_rename", {"device": device, "name": name}, events)
    screen.emit(answer, as_json=json, show=_show_devices)


@devices.command
def revoke(
    device: str,
    /,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False,
    json: Json = False,
) -> None:
    """Remove a device: it reads nothing new from then on. What it has, it keeps."""
    question = f"Remove {device!r} for good? It gets nothing new, and would have to be paired again"
    if not yes and not confirmed(question):
        raise ForbiddenError("Nothing was changed. To remove it without being asked, add --yes.")
    with agent() as connection, screen.watching("Removing the device") as events:
        answer = connection.call("device_revoke", {"device": device}, events)
    screen.emit(answer, as_json=json, show=_show_devices)


def _admit(connection: AgentConnection, code: str | None, *, as_json: bool) -> dict[str, Any]:
    made = connection.call("pair_admit", {"code": code})
    if code is None:
        _show_code(made["code"], "On the new device", as_json=as_json)
    with screen.watching("Waiting for the new device") as events:
        met = connection.call("pair_meet", {}, events)
    same = code is None or _is_same(met["number"], f"{met['name']!r} wants to join.")
    with screen.watching("Admitting the device") as events:
        status = connection.call("pair_finish", {"same": same}, events)
    return {"admitted": met["name"], **status}


def _join(
    connection: AgentConnection, code: str | None, name: str | None, *, as_json: bool
) -> dict[str, Any]:
    offered = connection.call("pair_offer", {"name": name, "code": code})
    if code is None:
        qr.show(offered["qr"], screen.err if as_json else screen.out)
        _show_code(offered["code"], "On a device that syncs", as_json=as_json)
    with screen.watching("Waiting for the other device") as events:
        met = connection.call("pair_meet", {}, events)
    same = code is not None or _is_same(met["number"], "The other device has answered.")
    with screen.watching("Joining") as events:
        status: dict[str, Any] = connection.call("pair_finish", {"same": same}, events)
    return status


def _is_same(number: str, what: str) -> bool:
    screen.say(f"{what} Both devices show a number. Here it is {number[:3]} {number[3:]}.")
    if confirmed("Is it the same on the other device?"):
        return True
    if not sys.stdin.isatty():
        raise ForbiddenError(_ALONE)
    return False


def _show_code(code: str, where: str, *, as_json: bool) -> None:
    to = screen.err if as_json else screen.out
    to.print(Text.assemble(f"{where}: sunaiva pair ", (code, "bold cyan")), soft_wrap=True)


def _show_paired(answer: dict[str, Any], *, syncs: bool) -> None:
    if syncs:
        screen.ok(f"{answer['admitted']!r} has joined and gets your memories now.")
    else:
        screen.ok(
            "This device has joined. Your memories are coming; `sunaiva sync status` says how far they are."
        )


def _show_devices(answer: Any) -> None:
    table = screen.table("id", "name", "")
    for one in msgspec.convert(answer, list[Device]):
        what = "this device" if one.is_this else "removed" if one.revoked else ""
        table.add_row(one.id, printable(one.name), what)
    screen.out.print(table)
