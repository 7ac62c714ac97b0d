"""Questions about documents: answered from whole documents, from passages, or from tables by SQL."""
