"""What is said about a key of a YAML file, once: for what reads it, for the JSON Schema and for the reference page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "any",
    "argv",  # a map of options, or a list taken word for word
    "choice",  # one of ``choices``
    "entry",  # the description of a benchmark
    "fraction",  # a number from 0 to 1, or a percentage
    "map",
    "maps",  # a list of maps
    "number",
    "program",  # a list with a program and its arguments
    "scalar",  # text, or a number taken as it is spelled
    "size",  # bytes: 80 GiB
    "switch",
    "text",
    "texts",  # a text, or a list of texts
    "time",  # seconds: 10m
    "variables",  # names of environment variables and what they are set to
    "whole",  # a whole number
    "words",  # a scalar, or a list of scalars
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: the kind of value it takes, and in plain words what that means.

    ``example`` is YAML that loads at the place the key belongs to. ``default`` is the value it has where it is not
    written, ``otherwise`` the same in words. ``least`` and ``most`` bound numbers. ``inside`` are the keys of a map:
    where ``kind`` is another one, a map may stand instead; in an ``open`` map other keys are allowed too.
    """

    kind: Kind
    meaning: str
    example: str
    default: Any = None
    otherwise: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    inside: Mapping[str, Key] = field(default_factory=dict)
    open: bool = False
