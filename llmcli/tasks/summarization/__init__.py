"""The parts of summarize: what the user wants, how long a summary is, and key sentences ranked by hidden states."""
