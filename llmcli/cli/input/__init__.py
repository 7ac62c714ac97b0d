"""Reading input: files, standard input and the user's editor."""
