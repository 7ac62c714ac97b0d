"""Pages at web addresses that the user names: which addresses are allowed, and how a page is fetched."""
