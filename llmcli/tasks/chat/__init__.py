"""chat: a conversation that stays within the context, and is saved."""
