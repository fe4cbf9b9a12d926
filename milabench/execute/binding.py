"""All that is known only when a process starts, put into what it is started with: here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from milabench.execute.hosts import Launch
from milabench.execute.setting import Records
from milabench.plan.launchtime import with_port
from milabench.plan.types import Command, Job, Phase
from milabench.rundir import Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the processes of a job are started with; ``secrets`` are the values of those that it names.

    ``full`` is called when one of them says that enough is measured.
    """

    phase: Phase
    job: Job
    records: Records
    secrets: Mapping[str, str]
    deadline_s: float | None
    full: Callable[[], object]

    def launch(self, command: Command, config: Mapping[str, Any], port: int | None) -> Launch:
        """Write that a process starts, and return what it is started with."""
        command, files = with_port(command, port), self.records.files(command.tag)
        first_seq = self.records.begin(command, config)
        env = {name: self.secrets[name] for name in self.job.secrets if name in self.secrets}
        env |= {"MILABENCH_CONFIG": json.dumps(config), "MILABENCH_NODE": command.node}
        return Launch(
            phase=self.phase,
            job=self.job,
            command=command,
            files=files,
            group=self._group(command, files),
            env=env,
            first_seq=first_seq,
            deadline_s=self.deadline_s,
            full=self.full,
        )

    def _group(self, command: Command, files: Files) -> Files | None:
        """Return the files that metrics stand beside: those of a group's leader for ranks of its further nodes."""
        if command.metrics != "none":
            return files
        if command.ranks is not None and command.ranks.first > 0:
            return self.records.files(command.ranks.leader)
        return None
