"""The endpoints of the protocols that a worker speaks."""
