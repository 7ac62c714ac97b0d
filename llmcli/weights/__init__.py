"""What all packages know about derived weights: copies of a model in another type."""
