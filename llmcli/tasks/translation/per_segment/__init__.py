"""Translation of one segment: masking, attempts, and checks of the answers."""
