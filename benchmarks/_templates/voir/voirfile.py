"""What measures main.py without touching it: voir loads this file, runs main.py and tells where it stands.

No `from __future__ import annotations` here: voir reads the types of the options.
"""

from dataclasses import dataclass

from benchmate.observe import Observer
from voir import configurable


@dataclass
class Config:
    """The keys of `voir.options` in the suite that are meant for this file."""

    stop: int = 60
    skip: int = 5


@configurable
def instrument_main(ov, options: Config):  # voir runs every function named instrument_…
    yield ov.phases.load_script  # main.py is loaded: its functions are there, nothing of it has run

    observer = Observer(unit="samples")  # counts the rows of a batch's first tensor
    probe = ov.probe("//dataloader() as loader", overridable=True)  # what the function dataloader() returns …
    probe["loader"].override(observer.loader)  # … is wrapped, so that every step over it is timed
    probe = ov.probe("//main > criterion", overridable=True)  # and so is the variable `criterion` of main()
    probe["criterion"].override(observer.criterion)
