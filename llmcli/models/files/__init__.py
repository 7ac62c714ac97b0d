"""Files of models: their names, the paths to them, and what a model on this machine is."""
