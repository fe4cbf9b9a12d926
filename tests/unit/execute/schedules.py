"""Plans of trials on one host without processes, and what comes of them."""

from __future__ import annotations

from pathlib import Path

from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts.fake import FakeHost
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record


def command(tag: str, metrics: str = "file") -> Command:
    return Command(
        tag=tag, benchmark=tag.split(".", maxsplit=1)[0], node="local", argv=("x",), cwd="/", metrics=metrics
    )


def trial(name: str, *tags: str, **job: object) -> Trial:
    commands = tuple(command(tag) for tag in tags or (name,))
    return Trial(benchmark=name, jobs=(Job(tag=name, commands=commands, deadline_s=60.0, **job),))


def outcomes(plan: Plan, host: FakeHost, folder: Path, **options: object) -> dict[str, Outcome]:
    interrupt, side_by_side = options.pop("interrupt", Interrupt()), options.pop("side_by_side", False)
    time = options.pop("time", VirtualTime())
    record = Record.create(folder / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    async def collect() -> dict[str, Outcome]:
        setting = Setting(hosts={"local": host}, records=record, interrupt=interrupt, side_by_side=side_by_side)
        happenings = execute(plan, setting, **options)
        return {each.trial.id: each.outcome async for each in happenings if isinstance(each, TrialEnded)}

    found = time.run(collect())
    assert record.outcomes() == found
    return found
