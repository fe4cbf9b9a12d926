"""Where packages of a vendor come from; which suite a name means."""

from __future__ import annotations

import pytest

from milabench.app.workspace import check_index, find_config, indexes
from milabench.errors import PreflightError, UsageError


@pytest.mark.parametrize(
    ("arch", "reached", "environ", "good"),
    [
        ("rocm", False, {}, False),
        ("xpu", False, {"PIP_INDEX_URL": ""}, False),
        ("rocm", True, {}, True),
        ("rocm", False, {"PIP_EXTRA_INDEX_URL": "https://example.org"}, True),
        ("rocm", False, {"UV_FIND_LINKS": "/wheels"}, True),
        ("cpu", False, {}, True),
        ("cuda", False, {}, True),
        ("hpu", False, {}, True),  # its torch comes with the vendor's installer
    ],
)
def test_no_environment_is_filled_with_another_vendors_torch(
    arch: str, reached: bool, environ: dict[str, str], good: bool
) -> None:
    facts = {"arch": arch, "indexes": indexes().get(arch, []) if reached else []}
    if good:
        check_index(facts, environ)
    else:
        with pytest.raises(PreflightError, match=f"torch for {arch} comes from https://.* another vendor's"):
            check_index(facts, environ)


@pytest.mark.parametrize("name", ["standrad", "~nobody-there/standard", "x" * 300])
def test_what_is_no_suite_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="it is no file, and the suites milabench brings are .*standard"):
        find_config(name)
