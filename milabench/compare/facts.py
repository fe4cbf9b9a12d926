"""What run.json says of A and of B: which facts changed, which are the same, which are not known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from milabench.compare.types import Change
from milabench.summary.areas import AREAS, ENVIRONMENT, Facts, by_area


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What became of the facts: ``same`` and ``unknown`` are areas, the environments with how many packages."""

    changed: tuple[Change, ...]
    same: tuple[str, ...]
    unknown: tuple[str, ...]


def differences(before: Facts, after: Facts) -> Differences:
    """Compare the facts of two runs; an area that either says nothing of is unknown."""
    first, second = by_area(before), by_area(after)
    changed: list[Change] = []
    same: list[str] = []
    unknown: list[str] = []
    for area in dict.fromkeys((*AREAS, *first, *second)):
        one, other = first.get(area), second.get(area)
        if one is None or other is None:
            unknown.append(area)
        elif found := list(_changes(area, one, other)):
            changed += found
        elif one:
            same.append(f"{area} ({len(one)} packages)" if area.startswith(ENVIRONMENT) else area)
    return Differences(changed=tuple(changed), same=tuple(same), unknown=tuple(unknown))


def without_code(facts: Facts, folders: Collection[str]) -> Facts:
    """Return facts without the code of these folders."""
    code = facts.get("code")
    if not folders or not isinstance(code, Mapping):
        return facts
    return {**facts, "code": {path: digest for path, digest in code.items() if path not in folders}}


def _changes(area: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        found_in_both = area == "conditions" and one is not None and other is not None  # the texts hold figures
        if one != other and not found_in_both:
            yield Change(area=area, name=name, before=one, after=other)
