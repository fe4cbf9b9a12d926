"""A real Slurm cluster of three nodes on this machine, for tests: with GPUs that are none, and nodes that can fail.

Each node is a slurmd in a process namespace of its own, so that a node can be ended with all that runs on it, as a
machine would be, and that nothing outlives the cluster. On the nodes, and only there, their names have addresses.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from harness import wait_until
from milabench.agent.processes import children

NO_SLURM = "Slurm is not installed here, or this user is not root"
NODES = ("n1", "n2", "n3")
GPUS = 2  # of each node
_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel", "setpriv", "unshare")
_WITH_US = ("setpriv", "--pdeathsig=KILL")
_TIMEOUT_S = 60
_NOBODY = 2**30  # no process has that number
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/socket/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
JobRequeue=0
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefaultTime=30 State=UP
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=10 State=UP
PartitionName=closed Nodes=ALL State=DOWN
PartitionName=short Nodes=ALL MaxTime=1 State=UP
"""


def is_possible() -> bool:
    """Say whether a cluster can be started here."""
    return os.geteuid() == 0 and all(map(shutil.which, _PROGRAMS))


class Cluster:
    """Use as a context manager; ``environ`` is what Slurm's commands need to find it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets have short names
        self.environ = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ended = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as failed:
            failed.callback(self._end)
            self._configure()
            self._start_munged()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            failed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    # Jobs --------------------------------------------------------------------------------------------------------

    def command(self, *argv: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
        """Run one of Slurm's commands and return what it prints. Raises CalledProcessError."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        done = subprocess.run(
            argv,
            env={**known, **self.environ, **(environ or {})},
            cwd=cwd or self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def submit(self, script: str, *arguments: str) -> int:
        """Submit a shell script and return the number of the job."""
        return int(self.command("sbatch", "--parsable", *arguments, "--wrap", script).split(";")[0])

    def state(self, job: int) -> str:
        return self.command("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").strip()

    def wait_for(self, job: int, *states: str) -> str:
        """Wait until a job is in one of these states, and return that."""
        wait_until(lambda: self.state(job) in states, _TIMEOUT_S)
        return self.state(job)

    def jobs(self) -> list[int]:
        """Return the numbers of the jobs that have not ended."""
        return [int(line) for line in self.command("squeue", "--noheader", "--format=%A").split()]

    def reach_time_limit(self, job: int, *, seconds: int) -> None:
        """Let a running job come to its time limit so soon; Slurm looks for that every ten seconds or so."""
        self.command("scontrol", "update", f"jobid={job}", f"endtime=now+{seconds}seconds")

    def put_back(self, job: int) -> None:
        """Put a running job back into the queue, and wait until it runs again; by itself Slurm waits two minutes.

        A node starts no job again in the second in which it has ended it.
        """
        self.command("scontrol", "requeue", str(job))
        self.wait_for(job, "PENDING")
        self.command("scontrol", "update", f"jobid={job}", "starttime=now+3seconds")
        self.wait_for(job, "RUNNING")

    def cancel_all(self) -> None:
        """End all jobs, as far as the nodes answer."""
        self.command("scancel", "--user=root", "--full")
        wait_until(lambda: not self.jobs(), _TIMEOUT_S)

    # Nodes -------------------------------------------------------------------------------------------------------

    def start_node(self, node: str) -> None:
        """Start a node, and wait until jobs can run there."""
        within = ("unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
        # a shell waits for what is left of others, which the first process of a namespace has to do
        daemon = f'slurmd -D -N {node} -f "$SLURM_CONF" & wait'
        names = f"mount --bind {self.folder}/hosts /etc/hosts"
        self._start(node, *within, "sh", "-c", f"{names} && {daemon}")
        wait_until(lambda: self._state_of(node) in ("idle", "mixed", "allocated"), _TIMEOUT_S)

    def break_node(self, node: str) -> None:
        """End a node with all that runs on it, and have Slurm take note at once."""
        self._stop(node)
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=broken")

    def mend_node(self, node: str) -> None:
        """Start a node again that was broken."""
        self.start_node(node)

    def mend_all(self) -> None:
        """Start all nodes again that are broken."""
        for node in NODES:
            if node not in self._daemons:
                self.mend_node(node)

    def start_controller(self) -> None:
        """Start what knows the jobs, again where it was stopped: it has them on its disk."""
        self._start("slurmctld", "slurmctld", "-D", "-f", self.environ["SLURM_CONF"])

    def stop_controller(self) -> None:
        """Stop what knows the jobs: none of Slurm's commands answers then, and what runs goes on."""
        self._stop("slurmctld", signal.SIGTERM)

    def number_here(self, node: str, number: int) -> int:
        """Return the number that a process of a node has on this machine; one that nothing has where it is gone."""
        (first,) = children(self._daemons[node].pid)
        space = Path(f"/proc/{first}/ns/pid").stat().st_ino
        for path in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                names = next(line for line in path.read_text().splitlines() if line.startswith("NSpid:")).split()
                if names[-1] == str(number) and (path.parent / "ns/pid").stat().st_ino == space:
                    return int(path.parent.name)
        return _NOBODY

    def _state_of(self, node: str) -> str:
        return self.command("sinfo", "--noheader", f"--nodes={node}", "--partition=main", "--format=%T").strip()

    # Daemons -----------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        names = [f"127.0.1.{number} {node}\n" for number, node in enumerate(NODES, 1)]
        (self.folder / "hosts").write_text("".join([Path("/etc/hosts").read_text(), *names]))
        host, ports = platform.node(), _free_ports(1 + len(NODES))
        lines, gpus = [_CONFIGURATION.format(host=host, folder=self.folder, ports=ports)], []
        for node, port in zip(NODES, ports[1:], strict=True):
            (self.folder / f"spool.{node}").mkdir()
            where = f"NodeAddr=127.0.0.1 NodeHostname={host} Port={port}"
            lines.append(f"NodeName={node} {where} CPUs=4 RealMemory=4000 Gres=gpu:fake:{GPUS}\n")
            devices = self.folder / f"dev.{node}"
            devices.mkdir()
            for number in range(GPUS):
                os.mknod(devices / f"nvidia{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            files = f"File={devices}/nvidia[0-{GPUS - 1}]"
            gpus.append(f"NodeName={node} Name=gpu Type=fake {files} Flags=nvidia_gpu_env\n")
        (self.folder / "slurm.conf").write_text("".join(lines))
        (self.folder / "gres.conf").write_text("".join(gpus))

    def _start_munged(self) -> None:
        """Start munged as its own user, with a key and a socket that are the cluster's alone."""
        for name in ("munge", "socket"):
            (self.folder / name).mkdir()
            shutil.chown(self.folder / name, "munge", "munge")
        key = self.folder / "munge/key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        shutil.chown(key, "munge", "munge")
        (self.folder / "munge").chmod(0o700)
        places = {"key-file": "munge/key", "pid-file": "socket/pid", "log-file": "munge/log", "seed-file": "munge/seed"}
        files = [f"--{name}={self.folder / place}" for name, place in places.items()]
        socket_file = self.folder / "socket/munge"
        munged = ("munged", "--foreground", "--force", f"--socket={socket_file}", *files)
        user = ("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups")
        self._start("munged", *user, *_WITH_US, *munged)  # another user is another bond: once more
        wait_until(socket_file.exists, _TIMEOUT_S)

    def _start(self, name: str, *argv: str) -> None:
        """Start a daemon that the kernel ends with this process."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [*_WITH_US, *argv],
                env={**_system_environ(), **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )

    def _stop(self, name: str, number: int = signal.SIGKILL) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        with suppress(ProcessLookupError):
            daemon.send_signal(number)
        daemon.wait(_TIMEOUT_S)

    def _end(self) -> None:
        """End all daemons, the nodes with all that runs on them, and remove everything."""
        for name in [*NODES, "slurmctld", "munged"]:
            self._stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _system_environ() -> dict[str, str]:
    """Return what daemons and, through them, jobs are given besides what is said."""
    return {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8"}


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
