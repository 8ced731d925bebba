"""Quotas, and who is told that they run low."""
