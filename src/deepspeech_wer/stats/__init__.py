"""Statistics: pure functions on plain values, no files, nothing of ours imported."""
