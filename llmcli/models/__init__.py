"""Finding, downloading, choosing, verifying and removing models."""
