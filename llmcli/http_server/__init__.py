"""What our two HTTP servers share: the worker and ``llm serve``."""
