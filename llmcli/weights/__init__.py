"""Derived weights as all packages know them: copies of a model in another type."""
