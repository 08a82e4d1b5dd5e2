"""What the actions of accounts stand on; `deps` wires it once for a process."""

from urllib.parse import urlsplit

from msgspec import Struct

from cloud_api.accounts.agreements import Agreements
from cloud_api.accounts.keys.keyring import Keyring
from cloud_api.accounts.passwords.hashing import PasswordHasher
from cloud_api.accounts.signed import Issuer
from cloud_api.db import Database
from cloud_api.notifications.actions import MailKey
from shared.clock import Clock

AUDIENCE = "sunaiva-api"


class Site(Struct, frozen=True):
    """Where people meet us: links, passkeys and tokens name it."""

    public_url: str

    @property
    def host(self) -> str:
        host = urlsplit(self.public_url).hostname
        assert host is not None, "settings took it for an origin"
        return host

    @property
    def issuer(self) -> Issuer:
        return Issuer(issuer=self.public_url, audience=AUDIENCE)


class Means(Struct, frozen=True, kw_only=True):
    db: Database
    clock: Clock
    hasher: PasswordHasher
    keys: Keyring
    key: bytes
    """The installation's; only ever derived from."""
    mail_key: MailKey
    site: Site
    agreements: Agreements
    """What counts now."""
