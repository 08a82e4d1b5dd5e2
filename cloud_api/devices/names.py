"""How vaults and devices are called: sixteen bytes of a hash each, written as a UUID wherever somebody reads them."""

from typing import NewType
from uuid import UUID

VaultId = NewType("VaultId", UUID)
DeviceId = NewType("DeviceId", UUID)
