"""Files on disk: written as a whole or not at all, locked, or for their owner alone."""
