"""The commands: a module for each, whose declaration makes its line in ``command_table``."""
