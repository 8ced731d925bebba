"""Calls and their sums, corrections and closed months."""
