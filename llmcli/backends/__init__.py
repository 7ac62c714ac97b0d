"""Where requests are answered: the Backend protocol and what implements it."""
