"""Pages from results: what is in the web root, and how it gets there."""
