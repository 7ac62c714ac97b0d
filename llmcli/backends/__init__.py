"""Where requests are answered: the Backend protocol and its implementations."""
