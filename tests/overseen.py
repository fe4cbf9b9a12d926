"""Run a script under a voirfile, in an environment that has voir, and read what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from benchmate.wire import read_steps
from milabench.resources import import_path


@dataclass(frozen=True)
class Overseen:
    """What a process under voir left: exit code, output, events as (name, data), and its measured steps' counts."""

    code: int
    out: str
    err: str
    events: list[tuple[str, Any]]
    counts: list[int]

    def all(self, event: str) -> list[Any]:
        return [data for name, data in self.events if name == event]

    @property
    def errors(self) -> list[str]:
        return [f"{data['type']}: {data['message']}" for data in self.all("error")]

    @property
    def notes(self) -> list[str]:
        return [data["message"] for data in self.all("note")]

    def rates(self, task: str = "train") -> list[float]:
        return [data["rate"] for data in self.all("data") if data.get("task") == task and "rate" in data]


class Bench:
    """A folder with a script and a voirfile, run as milabench runs them: ``options`` are the entry's ``voir`` block."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python
        self.also = ""  # a folder of packages that its scripts find beside those of the environment

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def environ(self, options: Mapping[str, Any] | None) -> dict[str, str]:
        """Return what milabench would set; with None for options the script is run by hand."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILABENCH_", "VOIR"))}
        path = os.pathsep.join([*import_path(), *filter(None, [self.also])])
        given = {**kept, "PYTHONPATH": path, "VOIRFILE": str(self.folder / "voirfile.py")}
        if options is None:
            return given
        config = {"name": "bench", "voir": {"options": options}}
        files = {"MILABENCH_EVENTS": str(self.folder / "a.data"), "MILABENCH_STEPS": str(self.folder / "a.steps")}
        return {**given, **files, "MILABENCH_CONFIG": json.dumps(config)}

    def argv(self, *words: str) -> list[str]:
        return [str(self.python), "-m", "benchmate.overseer", *words]

    def run(
        self,
        script: str,
        voirfile: str,
        *arguments: str,
        options: Mapping[str, Any] | None = {"stop": 5, "skip": 2},  # noqa: B006 - nobody changes it
        before: tuple[str, ...] = (),
        **environ: str,
    ) -> Overseen:
        """Run ``main.py`` to its end; ``before`` are words before the script's name."""
        self.write("main.py", script)
        self.write("voirfile.py", voirfile)
        return self.started(*before, "main.py", *arguments, options=options, **environ)

    def started(
        self,
        *words: str,
        options: Mapping[str, Any] | None = {"stop": 5, "skip": 2},
        **environ: str,  # noqa: B006
    ) -> Overseen:
        """Run what has been written to its end."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            env={**self.environ(options), **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return self.read(done.returncode, done.stdout, done.stderr)

    def read(self, code: int, out: str, err: str) -> Overseen:
        data, steps = self.folder / "a.data", self.folder / "a.steps"
        lines = [json.loads(line) for line in data.read_text().splitlines()] if data.exists() else []
        lines = [line if "event" in line else {"event": "data", "data": line} for line in lines]
        columns = read_steps(steps).columns if steps.exists() else {"count": [], "phase": []}
        counts = [count for count, phase in zip(columns["count"], columns["phase"], strict=True) if phase == 1]
        return Overseen(code, out, err, [(line["event"], line["data"]) for line in lines], counts)
