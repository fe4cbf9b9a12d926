"""What a sample of the monitor costs: CPU per sample, of /proc alone and with fake devices, beside many processes too.

The process, its loop and its readers are the real ones; NVML's library is a fake that answers at once, so that what the
driver itself takes is not in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hardware import nvml_file, recorded
from measuring import show
from milabench.agent.monitor import samples

INTERVAL_S, SAMPLES, AGAIN = 0.1, 30, 5
BOOT = "import sys; sys.path.insert(0, {path!r}); from milabench.agent.monitor.loop import main; main()"
ROOT = str(Path(__file__).resolve().parents[2])


def per_sample(folder: Path, devices: int) -> float:
    """Return the CPU that a monitor takes for a sample, in ms: between its first and its last."""
    gpu = next(said for uuid, said in recorded("nvml-hopper.json").items() if uuid != "driver")
    recording = {"driver": "550.54.15", **{f"GPU-{number}": gpu for number in range(devices)}}
    known = [{"id": number, "uuid": f"GPU-{number}"} for number in range(devices)]
    path = folder / f"n{samples.SUFFIX}"
    path.unlink(missing_ok=True)
    settings = {"path": str(path), "node": "n", "interval_s": INTERVAL_S, "arch": "cuda" if devices else "cpu"}
    settings |= {"devices": known, "nvml": str(nvml_file(folder, recording))}
    found = _samples(path, settings)
    spent_s = found[-1]["own_cpu_s"] - found[0]["own_cpu_s"]
    assert len(found[-1].get("devices", [])) == devices
    return spent_s / (len(found) - 1) * 1000


def _samples(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    argv = [sys.executable, "-I", "-S", "-c", BOOT.format(path=ROOT)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        time.sleep(SAMPLES * INTERVAL_S)
    return [line["data"] for line in samples.lines(path) if line["event"] == "sample"]


def main() -> None:
    goal = "≤ 5 ms: 0.5 % of a core at 1 s"
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        for devices in (0, 1, 8):
            what = f"a sample with {devices} devices" if devices else "a sample of /proc alone"
            show(what, [per_sample(Path(folder), devices) for _ in range(AGAIN)], "ms", goal=goal)
        sleepers = [subprocess.Popen(["sleep", "1000"]) for _ in range(1000)]
        try:
            show(
                "a sample beside 1000 processes of ours",
                [per_sample(Path(folder), 0) for _ in range(AGAIN)],
                "ms",
                goal=goal,
            )
        finally:
            for each in sleepers:
                each.kill()
                each.wait()


main()
