"""Summary → text, markdown, CSV, JSON: one module each, a function of the summary that returns a string."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from milabench.render import csv, json, markdown, text
from milabench.summary import Summary

FORMATS: Final[dict[str, Callable[[Summary], str]]] = {
    "text": text.render,
    "markdown": markdown.render,
    "csv": csv.render,
    "json": json.render,
}

__all__ = ["FORMATS"]
