from tests.cloud_api.accounts.conftest import ada, bob, clock, deps, mailbox, signed_up

__all__ = ["ada", "bob", "clock", "deps", "mailbox", "signed_up"]
