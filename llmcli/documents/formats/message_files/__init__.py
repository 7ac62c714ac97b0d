"""Message files of programs: gettext PO, JSON, YAML and Java properties."""
