"""What runs leave behind, and what is kept of it."""
