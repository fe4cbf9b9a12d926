"""What a lock keeps of what was resolved."""

from __future__ import annotations

import pytest

from milabench.app.pin import portable

RESOLVED = """\
nvidia-cublas==13.1 ; sys_platform == 'linux' \\
    --hash=sha256:1
numpy==2.4.6 ; python_full_version >= '3.11' \\
    --hash=sha256:2
torch==2.13.0+cpu ; platform_machine == 'x86_64'
triton==3.7.1
tritonclient==2.0
jax[cuda]==0.5+local.1
"""


@pytest.mark.parametrize(("arch", "dropped"), [("cpu", ("nvidia-cublas", "triton")), ("cuda", ())])
def test_a_lock_holds_no_local_version_and_no_library_of_another_vendor(arch: str, dropped: tuple[str, ...]) -> None:
    text = "".join(portable(RESOLVED, arch))
    names = [line.split("==")[0] for line in text.splitlines() if "==" in line and line[0] != " "]
    every = ["nvidia-cublas", "numpy", "torch", "triton", "tritonclient", "jax[cuda]"]
    assert names == [name for name in every if name not in dropped]
    assert ("--hash=sha256:1" in text, "--hash=sha256:2" in text) == (arch == "cuda", True)
    assert "torch==2.13.0 ; platform_machine" in text
    assert "jax[cuda]==0.5\n" in text
