"""A bundle: one tar of all that a suite needs where there is no network, and a manifest with the hash of each file.

In it: ``manifest.json`` first, then ``suite.yaml``, ``code/``, ``wheels/``, ``locks/<install group>.txt``, and what
goes below the base as it is: ``sources/`` and, where asked for, ``data/``, ``extra/`` and ``cache/``.
"""

from milabench.bundle.manifest import (
    DATA,
    About,
    Group,
    Manifest,
    Packed,
    comparable,
    data_of,
    leads_below,
    minor,
    read,
)
from milabench.bundle.placed import data_mark, placed_mark
from milabench.bundle.unpack import Bundle, find, unpack
from milabench.bundle.write import write
from milabench.plan.site import SUITE

__all__ = [
    "DATA",
    "SUITE",
    "About",
    "Bundle",
    "Group",
    "Manifest",
    "Packed",
    "comparable",
    "data_mark",
    "data_of",
    "find",
    "leads_below",
    "minor",
    "placed_mark",
    "read",
    "unpack",
    "write",
]
