"""quiz: cards about documents whose answers stand in them, and how a learner answers them."""
