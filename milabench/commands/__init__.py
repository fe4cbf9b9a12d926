"""Combinators that say what to launch; the leaves hold a package, the others wrap or multiply commands.

They are the launchers. ``build_run_plan`` returns one; the plan multiplies it over devices and renders it. Methods that
change a command return a changed copy. Standard library only.
"""

from milabench.commands.base import (
    CmdCommand,
    Command,
    ListCommand,
    PackCommand,
    Rendered,
    SequenceCommand,
    SimpleCommand,
    WorkingDir,
    WrapperCommand,
)
from milabench.commands.launchers import (
    AccelerateLaunchCommand,
    ActivatorCommand,
    TorchrunAllGPU,
    VoirCommand,
)
from milabench.commands.nodes import (
    SILENT,
    AccelerateAllNodes,
    ClientServer,
    DockerRunCommand,
    ForeachNode,
    SSHCommand,
    TorchrunAllNodes,
)
from milabench.commands.placement import NJobs, PerGPU

TorchRunCommand = TorchrunAllGPU  # milabench has both names

__all__ = [
    "SILENT",
    "AccelerateAllNodes",
    "AccelerateLaunchCommand",
    "ActivatorCommand",
    "ClientServer",
    "CmdCommand",
    "Command",
    "DockerRunCommand",
    "ForeachNode",
    "ListCommand",
    "NJobs",
    "PackCommand",
    "PerGPU",
    "Rendered",
    "SSHCommand",
    "SequenceCommand",
    "SimpleCommand",
    "TorchRunCommand",
    "TorchrunAllGPU",
    "TorchrunAllNodes",
    "VoirCommand",
    "WorkingDir",
    "WrapperCommand",
]
