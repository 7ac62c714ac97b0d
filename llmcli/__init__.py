"""llmcli: work with language models from the shell, on your own machine."""

__version__ = "0.1.0"
