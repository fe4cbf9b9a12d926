"""Every key of both languages with its path, and its example as a file that is to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent

from milabench.keys import Key
from milabench.suite import forms
from milabench.suite.language import KEYS as ENTRY
from milabench.system.language import KEYS as SYSTEM
from milabench.system.language import TOP as SYSTEM_TOP

# The template that examples of whole files inherit; _short is what one of them re-opens.
MINE = """\
_mine:
  definition: benchmarks/mine
  plan: {method: per_gpu}
  max_duration: 5m
  requires_capabilities: ['gpu.count >= 1']
  argv: {--verbose: true}
"""
SHORT = "_short: {max_duration: 1m}\n"


def walk(keys: Mapping[str, Key], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Key]]:
    """Yield the dotted path of every key, also of those inside, and the key."""
    for name, key in keys.items():
        yield ".".join((*path, name)), key
        yield from walk(key.inside, (*path, name))


def suites() -> dict[str, str]:
    """Return a suite file for every key and form of suites."""
    found = {path: _entry(key.example) for path, key in walk(ENTRY)}
    for path, key in [*walk(forms.TOP), *walk(forms.FORMS)]:
        includes = key.example.startswith("include")
        found[path] = key.example if includes else MINE + key.example
    return found


def systems() -> dict[str, str]:
    """Return a system file for every key of systems."""
    found = {path: "system:\n" + indent(key.example, "  ") for path, key in walk(SYSTEM)}
    return (
        found
        | {path: key.example for path, key in walk({"multirun": SYSTEM_TOP["multirun"]})}
        | {"system": SYSTEM_TOP["system"].example}
    )


def _entry(example: str) -> str:
    """Return a file with an entry that has all a benchmark needs, and what the example says."""
    inherits = "" if example.startswith("inherits") else "  inherits: _whole\n"
    whole = "definition: benchmarks/mine, plan: {method: per_gpu}"
    if example.startswith("command"):
        whole = "plan: {method: per_gpu}"
    elif example.startswith("definition"):
        whole = "plan: {method: njobs}"
    content = indent(example, "  ")
    if "job:" in example:
        content = content.replace("job: {", "job: {inherits: _whole, ")
        inherits = ""
    return f"_whole: {{{whole}}}\n{MINE}{SHORT}mine:\n{inherits}{content}\n"
