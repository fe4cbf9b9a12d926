"""The voirfiles that stand in docs/how-to/voirfile.md, under the real voir, on the script that stands there."""

from __future__ import annotations

import re
from pathlib import Path

from overseen import Bench

PAGE = (Path(__file__).parents[2] / "docs/how-to/voirfile.md").read_text()
SCRIPT, SHORT, LONG = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_short_example_of_the_page_measures_its_script(bench: Bench) -> None:
    done = bench.run(SCRIPT, SHORT, "--batch-size", "8", options={"stop": 60, "skip": 5})
    assert (done.code, done.errors, done.notes, done.counts) == (0, [], [], [8] * 60)
    assert [data["loss"] for data in done.all("data") if "loss" in data][:3] == [0.0, 1.0, 2.0]


def test_the_long_example_of_the_page_measures_it_too(bench: Bench) -> None:
    options = {"stop": 600, "skip": 5, "rounds": 3}
    done = bench.run(SCRIPT, LONG, "--batch-size", "8", options=options)
    assert (done.code, done.errors, done.notes, done.counts) == (0, [], [], [8] * 600)
