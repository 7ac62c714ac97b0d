"""What every HTTP server of ours needs: the worker has one, and so has ``llm serve``."""
