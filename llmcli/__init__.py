"""llmcli: language work from the shell on the user's own machine."""

__version__ = "0.1.0"
