"""The worker as its clients see it: launching one, talking to it, listing and stopping workers."""
