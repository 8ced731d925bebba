"""Keys, and how their secrets reach their owners."""
