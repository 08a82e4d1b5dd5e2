"""All routes of sync."""

from cloud_api.sync.routes import batches, snapshots, vaults

SYNC_ROUTES = (*vaults.ROUTES, *batches.ROUTES, *snapshots.ROUTES)
