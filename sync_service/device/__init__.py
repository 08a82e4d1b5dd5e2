"""What a device keeps and decides: its log and inbox, its membership, its snapshots, and how it heals what went wrong elsewhere."""
