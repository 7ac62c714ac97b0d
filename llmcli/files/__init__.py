"""Files on disk: written atomically, locked, or readable by their owner only."""
