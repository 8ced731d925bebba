"""Providers, their models, prices and health."""
