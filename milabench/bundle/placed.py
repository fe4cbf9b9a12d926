"""What lies below a base because a bundle brought it there: known again, so that nobody else's file is written over.

Bundles may have other files of the same names. The one that is asked for last has its own there: those that another
brought are replaced, and what was prepared from them counts as prepared no more (``data_mark`` tells it apart).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from milabench.agent.files import replacing
from milabench.agent.receive import digest
from milabench.bundle.manifest import DATA, Manifest, Packed, is_below_base
from milabench.plan import decode

RECORD: Final = "extra/setup/placed.json"  # below the base, where it goes with the data
_FETCHED: Final = ("sources", "cache")  # again wherever it is wanted: it may be replaced wherever it came from
_OWN: Final = "data"  # where people put what is theirs, too
State = Literal["there", "absent", "another's", "changed", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A file as a bundle brought it; a symbolic link has a ``link`` and nothing else."""

    name: str
    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """``bundle``: the folder's name of the one whose files lie there, none while they are being placed.

    ``data`` tells its data from any other's. ``unsure``: files that were being written, whatever is there.
    """

    bundle: str = ""
    data: str = ""
    files: tuple[Known, ...] = ()
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What is to be done for the files of a bundle to lie below a base.

    ``lacking`` are to be written, the ``replaced`` ones over what is there, of which ``changed`` is not, or not any
    more, as a bundle brought it. ``foreign`` are in the way: they may be somebody's own.
    """

    before: Placed
    lacking: tuple[Packed, ...]
    replaced: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]


def read(base: Path) -> Placed:
    """Return what is known of a base; nothing where there is no record, or none that can be read."""
    try:
        return decode.read(Placed, json.loads((base / RECORD).read_bytes()))
    except (OSError, ValueError):
        return Placed()


def placed_mark(base: Path) -> str:
    """Return what tells the data that bundles brought from any other, nothing where none did."""
    return read(base).data


def placing(base: Path, bundle: str, manifest: Manifest, *, anew: bool) -> Placing:
    """Return what is to be done for a bundle's files to lie below a base; that changes nothing.

    Of the bundle that was placed last, data is left as it has become since, unless it is to be placed ``anew``.
    """
    before = read(base)
    known, unsure = {each.name: each for each in before.files}, set(before.unsure)
    found: dict[str, State] = {}
    for each in _below_base(manifest):
        if anew or before.bundle != bundle or _first(each) not in DATA:
            found[each.name] = _state(base / each.name, each, known.get(each.name), unsure=each.name in unsure)

    def names(*states: State) -> tuple[str, ...]:
        return tuple(name for name, state in found.items() if state in states)

    lacking = set(names("absent", "another's", "changed"))
    return Placing(
        before=before,
        lacking=tuple(each for each in manifest.files if each.name in lacking),
        replaced=names("another's", "changed"),
        changed=names("changed"),
        foreign=names("foreign"),
    )


def begin(base: Path, placing: Placing) -> None:
    """Note what is about to be written: who is interrupted there knows it again. Raises OSError."""
    before = placing.before
    unsure = dict.fromkeys((*before.unsure, *(each.name for each in placing.lacking)))
    _write(base, Placed(data=before.data, files=before.files, unsure=tuple(unsure)))


def finish(base: Path, bundle: str, manifest: Manifest, placing: Placing) -> None:
    """Note that the files of a bundle lie there. Raises OSError."""
    looked_at = placing.before.bundle != bundle or placing.lacking
    if not looked_at:
        return
    written = {each.name for each in placing.lacking}
    known = {each.name: each for each in placing.before.files}
    for each in _below_base(manifest):
        if each.name in written or each.name not in known or placing.before.bundle != bundle:
            known[each.name] = _known(base / each.name, each)
    unsure = tuple(name for name in placing.before.unsure if name not in known)
    data = data_mark(manifest) or placing.before.data
    _write(base, Placed(bundle=bundle, data=data, files=tuple(known.values()), unsure=unsure))


def _below_base(manifest: Manifest) -> Iterator[Packed]:
    return (each for each in manifest.files if is_below_base(each.name))


def _first(each: Packed) -> str:
    return each.name.partition("/")[0]


def _state(path: Path, wanted: Packed, known: Known | None, *, unsure: bool) -> State:
    try:
        path.lstat()
    except FileNotFoundError:
        return "absent"
    except NotADirectoryError:
        return "foreign"
    ours = known is not None and _is_as_placed(path, known)
    if ours and known is not None and (known.sha256, known.link) == (wanted.sha256, wanted.link):
        return "there"
    if not ours and _has_content(path, wanted):
        return "there"
    if path.is_dir() and not path.is_symlink():
        return "foreign"
    if ours or unsure or _first(wanted) in _FETCHED:
        return "another's"
    return "foreign" if known is None and _first(wanted) == _OWN else "changed"


def _is_as_placed(path: Path, known: Known) -> bool:
    status = path.lstat()
    if known.link is not None:
        return path.is_symlink() and os.readlink(path) == known.link  # noqa: PTH115 - a text, as it stands
    return not path.is_symlink() and (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns)


def _has_content(path: Path, wanted: Packed) -> bool:
    if wanted.link is not None:
        return path.is_symlink() and os.readlink(path) == wanted.link  # noqa: PTH115 - a text, as it stands
    return path.is_file() and path.stat().st_size == wanted.size and digest(path) == wanted.sha256


def _known(path: Path, each: Packed) -> Known:
    if each.link is not None:
        return Known(name=each.name, link=each.link)
    status = path.lstat()
    return Known(name=each.name, sha256=each.sha256, size=status.st_size, mtime_ns=status.st_mtime_ns)


def data_mark(manifest: Manifest) -> str:
    """Return what tells the data of a bundle from any other, nothing where it has none."""
    found = hashlib.sha256()
    of_data = [each for each in _below_base(manifest) if _first(each) in DATA]
    for each in of_data:
        found.update(f"{each.name}\0{each.sha256}\0{each.link}\0".encode(errors="surrogateescape"))
    return found.hexdigest()[:16] if of_data else ""


def _write(base: Path, placed: Placed) -> None:
    path = base / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(asdict(placed)))
