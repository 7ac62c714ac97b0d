"""The terminal and the standard streams: messages, tables, prompts for confirmation, progress, signals."""
