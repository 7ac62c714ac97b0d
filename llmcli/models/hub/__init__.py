"""Models on the Hugging Face Hub: searching, choosing, downloading."""
