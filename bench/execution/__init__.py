"""Running cells: one process each."""
