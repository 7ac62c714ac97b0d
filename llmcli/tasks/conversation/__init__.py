"""The parts of a conversation: what of it is sent, how it is saved, and when an answer is stopped."""
