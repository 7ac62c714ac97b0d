"""Message files: gettext PO, JSON, YAML and Java properties."""
