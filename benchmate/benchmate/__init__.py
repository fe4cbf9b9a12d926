"""Measure inside a benchmark's own process: events, steps, losses, memory."""

__version__ = "0.1.0"
