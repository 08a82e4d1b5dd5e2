"""Who belongs to a vault: the device list as a signed chain, and how a device is let in."""
