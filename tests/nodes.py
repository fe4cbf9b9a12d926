"""Nodes for tests: network namespaces on one switch, each with disks, a host name, users and an sshd of its own.

``n1``, ``n2`` … are the nodes, ``op`` is a machine of an operator that is no node: it has no sshd. On all of them the
base is BASE, which is a folder of its own on each; what lies there is seen from outside at ``node.seen``. A node has
its own ``/home``, ``/root``, ``/tmp``, ``/run`` and users too; the operator's are those of this machine. All of it ends
with ``close``; what an earlier test run left that was killed is removed by the next.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from harness import wait_until

BASE = Path("/mnt/base")
USER, UID = "bench", 4242
SSHD = "/usr/sbin/sshd"
_KEPT = tuple(dict.fromkeys((Path(__file__).resolve().parent.parent, Path(sys.prefix), Path(sys.base_prefix))))
_COVERED = ("/home", "/run", "/root", "/tmp", "/var/tmp")  # noqa: S108
_CLONE_NEWNET = 0x40000000
_PREFIX = "mbt"
_NETWORK = "10.77.0"

# In the node's namespaces, before its sshd takes the shell's place: what it needs is copied first, then the node's own
# disks cover those of this machine. This repository and its Python stay, so that milabench can be run there as well.
_DISKS = """
set -e
hostname {name}
mount -t tmpfs none /mnt && mkdir {base} && mount --bind {base_source} {base}
{own}
exec {command}
"""
_OWN_DISKS = """
exec 2>>{folder}/log
mkdir /mnt/node && cp -r {folder}/etc/. /mnt/node
number=0
for path in {kept}; do
    number=$((number + 1)) && mkdir /mnt/kept$number && mount --bind $path /mnt/kept$number
done
for name in passwd shadow group hosts; do mount --bind {folder}/etc/$name /etc/$name; done
mount --bind {folder}/home /home
for place in /run /root /tmp /var/tmp; do mount -t tmpfs none $place; done
chmod 755 /run && chmod 1777 /tmp /var/tmp && chmod 700 /root && mkdir /run/sshd
number=0
for path in {kept}; do
    number=$((number + 1)) && mkdir -p $path && mount --move /mnt/kept$number $path
done
"""
_SSHD_CONFIG = """
Port 22
ListenAddress {address}
HostKey /mnt/node/host_key
AuthorizedKeysFile /mnt/node/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
PidFile none
MaxStartups 100
"""


@dataclass
class Node:
    """One machine; ``seen`` is its base from outside, ``pid`` that of its sshd (of a sleeping process on ``op``)."""

    name: str
    address: str
    folder: Path
    space: str
    seen: Path
    pid: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The home of the user ``bench``, from outside."""
        return self.folder / "home" / USER

    def prefix(self, user: str | None = None, cwd: Path | None = None) -> list[str]:
        """Return the argv before a command that is to run on this machine, in its folder ``/`` and as root if not said.

        ``user`` is ``bench`` where it is given.
        """
        words = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", f"--wdns={cwd or '/'}"]
        return [*words, "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"] if user else words

    def run(self, *argv: str) -> str:
        """Run a command on this machine and return what it prints."""
        return subprocess.run([*self.prefix(), *argv], check=True, capture_output=True, text=True, timeout=60).stdout

    def pids(self) -> list[int]:
        """Return all that runs on this machine."""
        return [int(pid) for pid in _ip("netns", "pids", self.space).split()]

    def started(self) -> list[int]:
        """Return what runs there beside its sshd and what that has for each connection."""
        return [pid for pid in self.pids() if pid != self.pid and _name_of(pid) not in (None, "sshd", "sshd-session")]

    def connections(self) -> list[int]:
        """Return what its sshd has for each connection."""
        return [pid for pid in self.pids() if pid != self.pid and (_name_of(pid) or "").startswith("sshd")]

    def idle(self) -> bool:
        """Whether nothing runs there that somebody has started."""
        return self.started() == []

    def listened(self) -> int:
        """Return how often its sshd has begun to take connections."""
        return (self.folder / "log").read_text(errors="replace").count("Server listening")

    def host_key(self) -> str:
        return " ".join((self.folder / "etc" / "host_key.pub").read_text().split()[:2])

    def link(self, state: str) -> None:
        """Pull the network cable (``down``), or put it in again (``up``)."""
        _ip("-n", f"{self.space[: -len(self.name)]}sw", "link", "set", self.name, state)

    def drop(self, *, all_in: bool = True) -> None:
        """Let a firewall swallow all that comes to this machine, without a word."""
        self.run("iptables", "-I" if all_in else "-D", "INPUT", "-j", "DROP")

    def answer_at(self, port: int) -> None:
        """Let its sshd be reached by another port too, as a machine that is two nodes of a file is."""
        self.run(*f"iptables -t nat -A PREROUTING -p tcp --dport {port} -j REDIRECT --to-ports 22".split())

    def die(self) -> None:
        """End all that runs there at once, as where the machine is switched off (the others are told by nobody)."""
        self.link("down")
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.process is not None:
                self.process.poll()

    def kill_sshd(self) -> None:
        """Kill its sshd, with what that has for each connection; nothing else."""
        for pid in (self.pid, *self.connections()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)


@dataclass
class Nodes:
    """All machines by name; ``key`` is the operator's private key that they accept, ``home`` the operator's home."""

    folder: Path
    machines: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        return self.machines[name]

    @property
    def key(self) -> Path:
        return self.home / ".ssh" / "id_ed25519"

    @property
    def home(self) -> Path:
        return self.folder / "op" / "home"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    @property
    def nodes(self) -> list[Node]:
        return [each for each in self.machines.values() if each.name != "op"]

    def trust(self, *names: str) -> None:
        """Write the host keys of nodes, all where none is named, into the operator's known_hosts."""
        nodes = [self[name] for name in names] or self.nodes
        self.known_hosts.write_text("".join(f"{node.address} {node.host_key()}\n" for node in nodes))

    def environ(self) -> dict[str, str]:
        """Return what makes a command the operator's."""
        return {"HOME": str(self.home), "MILABENCH_BASE": str(BASE)}

    def restart(self, name: str) -> None:
        """Start a node's sshd (again), or the node where it died, and wait until it takes connections."""
        node = self[name]
        node.link("up")
        before = node.listened()
        _start(node)
        wait_until(lambda: node.listened() > before)

    def mend(self) -> None:
        """Undo what tests did to nodes: cables, firewalls, servers, known hosts, what lies in bases and spools."""
        for node in self.nodes:
            node.link("up")
            if node.process is None or node.process.poll() is not None:
                self.restart(node.name)
            node.run("iptables", "--flush", "INPUT")
            node.run("iptables", "-t", "nat", "--flush", "PREROUTING")
            node.run("find", "/var/tmp", "-mindepth", "1", "-delete")
        for node in self.machines.values():
            node.seen.chmod(0o777)
            for path in node.seen.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.trust()

    @contextmanager
    def entered(self, name: str = "op") -> Iterator[None]:
        """Move this thread, and those that it starts, into the network of a machine for the length of a block."""
        with Path("/proc/thread-self/ns/net").open() as before:
            with Path(f"/run/netns/{self[name].space}").open() as there:
                _setns(there.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())

    def close(self) -> None:
        for node in self.machines.values():
            _remove(node.space)
            if node.process is not None:
                node.process.wait(30)
        if self.machines:
            _ip("netns", "del", f"{_space('sw')}", check=False)
        for node in self.machines.values():
            wait_until(partial(_is_gone, node))


def why_not() -> str | None:
    """Return why there can be no such nodes here, None where there can."""
    if os.getuid() != 0:
        return "nodes need root"
    for program in ("ip", "nsenter", "unshare", "ssh-keygen", SSHD):
        if shutil.which(program) is None:
            return f"nodes need {program}"
    done = subprocess.run(["ip", "netns", "add", _space("try")], capture_output=True, check=False)
    _ip("netns", "del", _space("try"), check=False)
    return None if done.returncode == 0 else "no network namespace can be made here"


@contextmanager
def started(folder: Path, names: Sequence[str] = ("n1", "n2", "n3"), *, shared: Sequence[str] = ()) -> Iterator[Nodes]:
    """Yield machines whose files lie in a folder, or skip; those named in ``shared`` have one base together."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    _sweep()
    made = Nodes(folder)
    try:
        _make(made, names, shared)
        made.trust()
        yield made
    finally:
        made.close()


# Making ------------------------------------------------------------------------------------------------------------


def _make(made: Nodes, names: Sequence[str], shared: Sequence[str]) -> None:
    home = made.home / ".ssh"
    home.mkdir(parents=True, mode=0o700)
    _keygen(made.key)
    for number, name in enumerate([*names, "op"], 1):
        folder = made.folder / name
        base = made.folder / "shared" / "base" if name in shared else folder / "base"
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o777)
        made.machines[name] = Node(name, f"{_NETWORK}.{number}", folder, _space(name), base)
    _wire(list(made.machines.values()))
    for node in made.machines.values():
        if node.name != "op":
            _furnish(node, made)
        _start(node)
    for node in made.nodes:
        wait_until(node.listened)


def _is_gone(node: Node) -> bool:
    return not Path(f"/run/netns/{node.space}").exists()


def _wire(machines: Sequence[Node]) -> None:
    switch = _space("sw")
    lines = [f"netns add {switch}", f"-n {switch} link add br0 type bridge", f"-n {switch} link set br0 up"]
    for node in machines:
        lines += [
            f"netns add {node.space}",
            f"-n {switch} link add {node.name} type veth peer name eth0 netns {node.space}",
            f"-n {switch} link set {node.name} master br0 up",
            f"-n {node.space} addr add {node.address}/24 dev eth0",
            f"-n {node.space} link set eth0 up",
            f"-n {node.space} link set lo up",
        ]
    for line in lines:
        _ip(*line.split())


def _furnish(node: Node, made: Nodes) -> None:
    etc = node.folder / "etc"
    etc.mkdir(parents=True)
    node.home.mkdir(parents=True)
    os.chown(node.home, UID, UID)
    node.folder.joinpath("log").touch()
    _keygen(etc / "host_key")
    (etc / "authorized_keys").write_bytes(made.key.with_suffix(".pub").read_bytes())
    (etc / "authorized_keys").chmod(0o644)
    (etc / "sshd_config").write_text(_SSHD_CONFIG.format(address=node.address))
    users = re.sub(r"^root:.*\n", "root:x:0:0:root:/root:/bin/bash\n", Path("/etc/passwd").read_text(), flags=re.M)
    (etc / "passwd").write_text(f"{users}{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n")
    (etc / "group").write_text(f"{Path('/etc/group').read_text()}{USER}:x:{UID}:\n")
    (etc / "shadow").write_text(f"root:*:19000::::::\nsshd:*:19000::::::\n{USER}:*:19000::::::\n")
    hosts = "".join(f"{each.address} {each.name}\n" for each in made.machines.values())
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")


def _start(node: Node) -> None:
    """Start what stays on a machine: its sshd, or a process that sleeps."""
    known: Mapping[str, object] = {
        "name": node.name,
        "folder": shlex.quote(str(node.folder)),
        "base": BASE,
        "base_source": shlex.quote(str(node.seen)),
        "kept": shlex.join(str(path) for path in _KEPT if str(path).startswith(_COVERED)),
    }
    own = "" if node.name == "op" else _OWN_DISKS.format(**known)
    command = "sleep infinity" if node.name == "op" else f"{SSHD} -D -e -f /mnt/node/sshd_config"
    script = _DISKS.format(**known, own=own, command=command)
    node.process = subprocess.Popen(
        ["ip", "netns", "exec", node.space, "unshare", "--mount", "--uts", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    node.pid = node.process.pid


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def _space(name: str, pid: int | None = None) -> str:
    return f"{_PREFIX}{pid or os.getpid()}-{name}"


def _name_of(pid: int) -> str | None:
    """Return the name of a process; None where it has ended."""
    with suppress(OSError):
        name, _, fields = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        return None if fields.split()[0] in ("Z", "X") else name
    return None


def _setns(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _remove(space: str) -> None:
    """End all that runs in a namespace, and the namespace."""
    while pids := _ip("netns", "pids", space, check=False).split():
        for pid in map(int, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    _ip("netns", "del", space, check=False)


def _sweep() -> None:
    """Remove what a test run left that is gone."""
    for name in _ip("netns", "list").split():
        found = re.match(rf"{_PREFIX}(\d+)-", name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(name)


if __name__ == "__main__":  # python tests/nodes.py FOLDER: nodes to try things on by hand, until Enter is pressed
    with started(Path(sys.argv[1])) as there:
        for each in there.machines.values():
            print(each.name, each.address, " ".join(each.prefix()))
        sys.stdin.readline()
