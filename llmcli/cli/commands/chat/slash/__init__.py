"""The slash commands of a chat, one module a group."""
