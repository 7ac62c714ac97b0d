"""Getting, choosing, checking and keeping models. The only importer of huggingface_hub."""
