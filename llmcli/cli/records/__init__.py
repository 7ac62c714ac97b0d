"""Records on the command line: their options, inputs, outputs, and jobs that can be resumed."""
