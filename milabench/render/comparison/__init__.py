"""Comparison → text, markdown, CSV, JSON: one module each, a function of the comparison that returns a string."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from milabench.compare import Comparison
from milabench.render.comparison import csv, json, markdown, text

FORMATS: Final[dict[str, Callable[[Comparison], str]]] = {
    "text": text.render,
    "markdown": markdown.render,
    "csv": csv.render,
    "json": json.render,
}

__all__ = ["FORMATS"]
