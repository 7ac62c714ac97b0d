"""Finding, downloading, choosing, verifying and removing models. The only importer of huggingface_hub."""
