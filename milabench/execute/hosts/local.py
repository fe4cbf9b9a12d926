"""The agent of this machine: a child process over a pipe, so that what it supervises ends when the runner is killed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from milabench.agent import processes
from milabench.agent.ender import is_ender
from milabench.errors import PreflightError, told
from milabench.execute.hosts.agent import AgentHost
from milabench.execute.hosts.child import KNOWN, Child

_BOOT = "import sys; sys.path[:0] = {path!r}; from milabench.agent.serve import main; main()"
_ORPHANS_S = 10.0
_ENDED = "the agent that starts processes has ended ({}): what it said, if anything, stands above"


class LocalHost(AgentHost):
    """A pipe to an agent process on this machine, which has the environment that it is given and no other."""

    def __init__(self, import_path: Sequence[str], environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self._boot = _BOOT.format(path=list(import_path))

    async def connect(self) -> LocalAgent:
        processes.become_subreaper()  # what outlives an agent that was killed becomes ours to end
        KNOWN.update(processes.children(os.getpid()))
        try:
            return await LocalAgent.spawn((sys.executable, "-I", "-S", "-c", self._boot), self._environ)
        except (OSError, RuntimeError) as error:  # no more descriptors, processes; threads
            raise PreflightError(f"the agent that starts processes cannot be started: {told(error)}") from None


class LocalAgent(Child):
    """The agent as a child process; what it leaves behind when it is killed is ended here."""

    async def ended(self) -> str:
        how = await super().ended()
        # none where it ended in peace; what ends its containers has heard of its end
        await asyncio.to_thread(processes.end_all, _ORPHANS_S, kept=KNOWN.__contains__, spared=is_ender)
        return _ENDED.format(how)
