"""One landing becomes one result folder."""
