"""The change log between a person's devices: what is said, how it is sealed, who belongs, and what each device does about it.

From the ground up: `changes` (operations and their merging, pure) · `sealed` (what travels, to the byte) · `members` (the device list
and pairing) · `relay` (what a server checks) · `transports` (HTTP, a folder) · `device` (what a device keeps and decides) · `steps` (one
step of synchronisation). Each knows only what stands before it.
"""
