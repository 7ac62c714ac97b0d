"""The models on this machine: finding, verifying, importing, removing."""
