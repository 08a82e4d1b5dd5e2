"""What people change, as operations, and how they go together: pure, the same on every device."""
