"""What leaves a device, to the byte: keys, batches, the pieces of snapshots and of vectors."""
