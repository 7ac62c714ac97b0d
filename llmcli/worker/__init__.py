"""The process that keeps a model loaded for all commands of a user: it starts on demand and ends when idle."""
