"""The process that keeps a model loaded for all commands of a user: started by one, found by the next, gone when idle."""
