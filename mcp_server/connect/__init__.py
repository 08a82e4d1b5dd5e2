"""Connects AI assistants to Sunaiva by changing the one entry in their configuration that is ours.

Plan, show, apply, undo. Everything outside of that entry and our hooks stays as the person wrote it, to the byte.
"""

from mcp_server.connect.clients import Client, Places, all_clients, client_named, find_clients
from mcp_server.connect.entries import Launch, State
from mcp_server.connect.plans import (
    Applied,
    FileChange,
    Plan,
    Status,
    apply,
    diff,
    plan,
    plan_undo,
    status,
)

__all__ = [
    "Applied",
    "Client",
    "FileChange",
    "Launch",
    "Places",
    "Plan",
    "State",
    "Status",
    "all_clients",
    "apply",
    "client_named",
    "diff",
    "find_clients",
    "plan",
    "plan_undo",
    "status",
]
