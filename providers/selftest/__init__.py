"""The self-test of a model: a short battery of real calls, and the compatibility card that comes of it."""

from providers.selftest.battery import Card, Options, is_usable, run_selftest, was_tried
from providers.selftest.found import found_values

__all__ = ["Card", "Options", "found_values", "is_usable", "run_selftest", "was_tried"]
