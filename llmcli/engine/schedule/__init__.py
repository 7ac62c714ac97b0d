"""The scheduler: which sequences run, and what each batch contains."""
