"""The kinds of difference between a process of milabench's and ours, each an exact rewrite with its reason.

A command of milabench's is rewritten by one kind after the other until it is ours, word for word. What is not ours in
the end is a failure. Paths are told apart by ``$SRC`` (the checkout) and ``$BASE``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from milabench.launchtime import TEMPORARY, port_token

MAIN_ADDRESS, PORT, USER = "127.0.0.1", 29400, "username"
MACHINES = ("--nnodes=", "--num_machines=")
WAITS = "timeout=360"  # by torchrun.first_event_s
ALONE = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
SSH = ("ssh", "-oCheckHostIP=no", "-oStrictHostKeyChecking=no", *("-oPasswordAuthentication=no",) * 2, "-p", "22")
VARIABLES = ("XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What is compared; ``devices`` and ``cwd`` are None where a recording does not tell them.

    ``voirfile``: the benchmark's folder has one.
    """

    benchmark: str
    argv: tuple[str, ...]
    node: str
    venv: str
    voirfile: bool
    devices: tuple[int, ...] | None = None
    cwd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    reason: str
    rewrite: Callable[[Process], Process]
    recorded: bool = False  # of the recordings alone


def _staged(process: Process) -> Process:
    def moved(text: str) -> str:
        return re.sub(r"\$SRC/benchmarks/(_templates/|retired/)?", "$BASE/code/", text)

    argv = tuple(moved(word) for word in process.argv)
    return replace(process, argv=argv, cwd=None if process.cwd is None else moved(process.cwd))


def _remote(process: Process) -> Process:
    if process.argv[: len(SSH)] != SSH:
        return process
    user, _, address = process.argv[len(SSH)].partition("@")
    if user != USER:
        return process
    argv, cwd = process.argv[len(SSH) + 1 :], process.cwd
    if argv[:2] == ("env", "-C") and argv[3] == "-":
        cwd, argv = argv[2], argv[4:]
        while argv[0].partition("=")[0] in VARIABLES:
            argv = argv[1:]
    return replace(process, argv=argv, cwd=cwd, node=address)


def _activated(process: Process) -> Process:
    activator = ("$SRC/milabench/scripts/activator", process.venv, "$BASE/cache")
    if process.argv[: len(activator)] != activator:
        return process
    program, *rest = process.argv[len(activator) :]
    return replace(process, argv=(program if "/" in program else f"{process.venv}/bin/{program}", *rest))


def _interpreter(process: Process) -> Process:
    script = process.argv[0]
    if not (script.startswith("$BASE/code/") and script.endswith(".py")):
        return process
    return replace(process, argv=(f"{process.venv}/bin/python", *process.argv))


def _overseer(process: Process) -> Process:
    flags, program = _launcher(process.argv)
    script = _under_voir(program, process.venv)
    if script is None:
        return process
    flags = tuple(word for word in flags if word != "--no-python")
    if not process.voirfile:
        return replace(process, argv=(*(flags or (f"{process.venv}/bin/python",)), *script))
    if not flags:
        return replace(process, argv=(f"{process.venv}/bin/python", "-m", "benchmate.overseer", *script))
    return replace(process, argv=(*flags[:-1], "-m", "--", "benchmate.overseer", *script))


def _under_voir(program: tuple[str, ...], venv: str) -> tuple[str, ...] | None:
    """Return the script and its arguments where voir runs it, or ``python`` where a recording has voir switched off."""
    if program[:1] == ("python",):
        return program[1:]
    if program[:1] not in ((f"{venv}/bin/voir",), ("voir",)):
        return None
    options = program[1:2] == ("--config",) and program[2].startswith("$BASE/extra/") and "/voirconf-" in program[2]
    return program[3:] if options else program[1:]


def _launcher(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split a command at the ``--`` of torchrun's options; without a launcher the first part is empty."""
    if "--" not in argv or not any(word.startswith("--nproc-per-node=") for word in argv):
        return (), argv
    at = argv.index("--") + 1
    return argv[:at], argv[at:]


def _torchrun(process: Process) -> Process:
    program, *rest = process.argv
    if program != f"{process.venv}/bin/benchrun":
        return process
    return replace(process, argv=(f"{process.venv}/bin/torchrun", *rest))


def _ranks(process: Process) -> Process:
    count = len(process.devices or ())
    head, program = _launcher(process.argv)
    flags = tuple(f"--nproc-per-node={count}" if word == "--nproc-per-node=gpu" else word for word in head)
    return replace(process, argv=(*flags, *program))


def _alone(process: Process) -> Process:
    head, program = _launcher(process.argv)
    meeting = (
        "--nnodes=1",
        "--rdzv-backend=static",
        f"--rdzv-endpoint={MAIN_ADDRESS}:{PORT}",
        f"--master-addr={MAIN_ADDRESS}",
        f"--master-port={PORT}",
    )
    if not set(meeting) <= set(head):
        return process
    rest = [word for word in head if word not in meeting]
    at = next(index for index, word in enumerate(rest) if word.startswith("--nproc-per-node=")) + 1
    return replace(process, argv=(*rest[:at], *ALONE, *rest[at:], *program))


def _free_port(process: Process) -> Process:
    head, program = _launcher(process.argv)
    nodes = int(next((word.rpartition("=")[2] for word in process.argv if word.startswith(MACHINES)), 1))
    if head and nodes > 1:
        gone = (f"--master-addr={MAIN_ADDRESS}", f"--master-port={PORT}")
        kept = (word for word in head if word not in gone)
        head = tuple(re.sub(r"^--rdzv-conf=rank=\d+$", f"--rdzv-conf={WAITS}", word) for word in kept)
        head = tuple(word.replace(f"{MAIN_ADDRESS}:{PORT}", f"{MAIN_ADDRESS}:{port_token(PORT)}") for word in head)
    elif (before := f"--main_process_port={PORT}") in program:
        at = program.index(before)
        after = (f"--main_process_port={port_token(PORT)}", *(f"--rdzv_conf={WAITS}",) * (nodes > 1))
        program = (*program[:at], *after, *program[at + 1 :])
    return replace(process, argv=(*head, *program))


def _logs_that_go(process: Process) -> Process:
    at = next((index for index, word in enumerate(process.argv) if word.startswith("--num_processes=")), None)
    if at is None or "launch" not in process.argv[:2]:
        return process
    return replace(process, argv=(*process.argv[: at + 1], f"--log_dir={TEMPORARY}", *process.argv[at + 1 :]))


def _all_ranks_heard(process: Process) -> Process:
    head, program = _launcher(process.argv)
    return replace(process, argv=(*(word for word in head if word != "--local-ranks-filter=0"), *program))


def _positionals_first(process: Process) -> Process:
    script = next((index for index, word in enumerate(process.argv) if word.endswith(".py")), None)
    if script is None:
        return process
    arguments = process.argv[script + 1 :]
    named = [word for word in arguments if "=" in word and not word.startswith("-")]
    others = [word for word in arguments if word not in named]
    return replace(process, argv=(*process.argv[: script + 1], *named, *others))


KINDS = (
    Kind(
        name="staged folders",
        reason="installs and preparations write into a benchmark's folder: its copy under the base is run, not the"
        " checkout",
        rewrite=_staged,
    ),
    Kind(
        name="node instead of ssh",
        reason="the plan says the node, the working directory and the variables of each process, and the agent there"
        " starts it: the way to the node is the runner's business, not part of a command",
        rewrite=_remote,
    ),
    Kind(
        name="no activator",
        reason="a program of the environment is named by its path, and every process has the environment's PATH and"
        " VIRTUAL_ENV: no script has to set them",
        rewrite=_activated,
    ),
    Kind(
        name="interpreter",
        reason="a script is given to the environment's interpreter; milabench runs the file itself, so that it has to"
        " be executable and the first python of PATH decides",
        rewrite=_interpreter,
    ),
    Kind(
        name="overseer instead of voir",
        reason="benchmate.overseer runs the script under voir with the folder's voirfile (without one the script runs"
        " by itself), its options handed over in a variable instead of a file that planning would write; under torchrun"
        " it is a module, in the rank's own process. Where the recordings have python, voir was switched off",
        rewrite=_overseer,
    ),
    Kind(
        name="torchrun instead of benchrun",
        reason="benchrun is torchrun with an open file handed to the ranks; ours open their files by name",
        rewrite=_torchrun,
    ),
    Kind(
        name="number of ranks",
        reason="a plan says how many processes it starts: the devices it was made for, not those found at the start",
        rewrite=_ranks,
    ),
    Kind(
        name="a free port on one node",
        reason="ranks of one node meet at a free port, so that two launchers can run side by side",
        rewrite=_alone,
    ),
    Kind(
        name="a free port between nodes",
        reason="the port where the ranks of several nodes meet, or those that accelerate starts, is looked for as they"
        " start, so that two runs can go on at once; they wait for each other for a time that is said, and a launcher"
        " knows its node's rank once",
        rewrite=_free_port,
    ),
    Kind(
        name="logs of ranks that go",
        reason="torchrun makes a folder for logs of ranks even where it writes none, and leaves it; the one that it is"
        " given goes with the process. To torchrun itself a variable says so, to accelerate an option",
        rewrite=_logs_that_go,
    ),
    Kind(
        name="no filter of ranks",
        reason="what every rank prints is kept, since the rank that fails is often not the first; one rank alone is"
        " listened to only where metrics are read from what is printed",
        rewrite=_all_ranks_heard,
    ),
    Kind(
        name="positionals first",
        reason="milabench itself puts words without dash before the options since it was recorded",
        rewrite=_positionals_first,
        recorded=True,
    ),
)


def explain(theirs: Process, ours: Process, *, recorded: bool) -> tuple[list[str], Process]:
    """Return the kinds that lead from a process of milabench's to ours, and how far they lead."""
    used: list[str] = []
    for kind in KINDS:
        if alike(theirs, ours):
            break
        changed = theirs if kind.recorded and not recorded else kind.rewrite(theirs)
        if changed != theirs:
            used.append(kind.name)
        theirs = changed
    return used, theirs


def alike(theirs: Process, ours: Process) -> bool:
    """Say whether two processes are the same in all that is known of both."""
    if theirs.devices is not None and theirs.devices != ours.devices:
        return False
    if theirs.cwd is not None and theirs.cwd != ours.cwd:
        return False
    return (theirs.argv, theirs.node, theirs.venv) == (ours.argv, ours.node, ours.venv)
