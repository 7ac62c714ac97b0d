"""How unexpected words and segments are to a model, from the log-probabilities of their tokens."""
