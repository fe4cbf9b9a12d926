"""Whether the kernel has killed for want of memory: it counts that in the cgroup that the killed process was in."""

from __future__ import annotations

from contextlib import suppress


class OomKills:
    """The kernel's kills, each told once: what one process ended of is no reason for the end of another.

    Processes that share a cgroup share its count: of two that fail at the same time by themselves, the one that is
    asked about first has it.
    """

    def __init__(self, proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> None:
        self._proc, self._cgroups = proc, cgroups
        self._own = [*self._files("self"), f"{cgroups}/memory.events", f"{cgroups}/memory/memory.oom_control"]
        self._machine = f"{proc}/vmstat"
        self._told: set[tuple[str, int]] = set()  # file, number of the kill in it

    def seen(self, *, anywhere: bool = False) -> dict[str, int]:
        """Return how many kills there were so far, by the file that counts them, of this process's own cgroup.

        ``anywhere``: of the whole machine too, for a process in a container: its cgroup is gone when it has ended.
        """
        return {**_count(self._own), **(_count([self._machine]) if anywhere else {})}

    def told(self, pid: int, before: dict[str, int]) -> bool:
        """Say whether there was a kill since ``before`` that nobody has been told of; it counts as told then.

        It is looked for in the cgroup of this process, and in that of ``pid``, which may have gone to another; anywhere
        where it was before.
        """
        seen = self.seen(anywhere=self._machine in before)
        for file, count in {**_count(self._files(str(pid))), **seen}.items():
            for number in range(before.get(file, 0) + 1, count + 1):
                if (file, number) not in self._told:
                    self._told.add((file, number))
                    return True
        return False

    def _files(self, process: str) -> list[str]:
        """Return where a process's cgroup counts them: version 2, version 1.

        Of a process that has ended version 1 knows no cgroup any more, and says that of the whole machine.
        """
        found: list[str] = []
        with suppress(OSError, ValueError), open(f"{self._proc}/{process}/cgroup") as file:  # noqa: PTH123
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if not controllers:
                    found.append(f"{self._cgroups}{path}/memory.events")
                elif "memory" in controllers.split(",") and (process == "self" or path != "/"):
                    found.append(f"{self._cgroups}/memory{path}/memory.oom_control")
        return found


def _count(files: list[str]) -> dict[str, int]:
    """Return the count of the first of these files that has one; in a container one's own path may not be there."""
    for path in files:
        with suppress(OSError, ValueError), open(path) as file:  # noqa: PTH123
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return {path: int(value)}
    return {}
