"""Files of models: their names, their paths, and the description of a model on this machine."""
