"""What trials use of their nodes, and which can therefore run at the same time."""

from __future__ import annotations

from itertools import combinations

from milabench.plan.types import Plan, Trial

Use = tuple[str, int | None]  # a device of a node, None: all of it


def uses(trial: Trial) -> frozenset[Use]:
    """Return what a trial uses: devices of nodes, or a whole node (None) where a process of it has none."""
    whole = {(command.node, None) for command in trial.commands if not command.devices}
    return frozenset(whole | {(command.node, device) for command in trial.commands for device in command.devices})


def overlap(one: frozenset[Use], other: frozenset[Use]) -> bool:
    return any(
        node == another and (device is None or device_ is None or device == device_)
        for node, device in one
        for another, device_ in other
    )


def any_side_by_side(plan: Plan) -> bool:
    """Say whether any two benchmarks of a plan use nothing in common, so that they can run at the same time."""
    used = {uses(trial) for trial in plan.trials}
    return any(not overlap(one, other) for one, other in combinations(used, 2))
