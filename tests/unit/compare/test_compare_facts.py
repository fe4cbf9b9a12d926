"""Which facts changed between two runs: of the machine and its software, and of what benchmarks were asked to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from compare_samples import FIVE, benchmark, of, process, summary

from milabench.compare import Change, compare
from milabench.compare.facts import differences
from milabench.summary import Missing

FACTS: dict[str, Any] = {
    "milabench": "0.1.0",
    "python": "3.12.1",
    "config": "/home/user/suite.yaml",
    "side_by_side": False,
    "system": {
        "hostname": "node1",
        "platform": "Linux-6.8",
        "arch": "cuda",
        "cpu_name": "EPYC",
        "cpus": 96,
        "memory_bytes": 2**38,
        "driver": "550.54",
        "devices": [
            {"id": 0, "uuid": "GPU-a", "name": "H100", "serial": "1", "firmware": "96.00"},
            {"id": 1, "uuid": "GPU-b", "name": "H100", "serial": "2", "firmware": "96.00"},
        ],
    },
    "environ": {"MILABENCH_BASE": "/data", "MILABENCH_SIZER_AUTO": "1"},
    "environments": {"torch": ["torch==2.9.0", "numpy==2.1.0", "mine @ file:///src/mine"]},
    "code": {"/clone/benchmarks/bert": "0123456789abcdef"},
    "container": None,
    "preflight": [{"code": "machine-busy", "subject": "cpu", "what": "1.0 of 2 cores"}],
}
IMAGE = {"digest": "sha256:0123456789abcdef", "id": "sha256:ff", "root": None}
INSIDE = {"executable": "podman", "image": "e.org/i:1", "args": ["--cpus=0.5"], "images": {"n1": IMAGE, "n2": IMAGE}}


def changed(**fields: Any) -> list[tuple[str, str, str | None, str | None]]:
    found = differences(FACTS, {**FACTS, **fields})
    return [(each.area, each.name, each.before, each.after) for each in found.changed]


def system(**fields: Any) -> dict[str, Any]:
    return {"system": {**FACTS["system"], **fields}}


def devices(**fields: Any) -> dict[str, Any]:
    return system(devices=[{**device, **fields} for device in FACTS["system"]["devices"]])


def test_the_same_facts_are_said_shortly() -> None:
    found = differences(FACTS, FACTS)
    assert found.changed == found.unknown == ()
    assert found.same == (
        *("machine", "software", "code", "suite", "environ", "conditions"),
        "environment torch (3 packages)",
    )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (system(driver="560.28"), [("software", "driver", "550.54", "560.28")]),
        (system(hostname="node2"), [("machine", "hostname", "node1", "node2")]),
        (system(memory_bytes=2**38 + 4096), []),  # what a kernel keeps for itself differs from boot to boot
        (system(memory_bytes=2**37), [("machine", "memory", "256.0 GiB", "128.0 GiB")]),
        (system(devices=[]), [("machine", name, told, None) for name, told in (
            ("devices", "2 × H100"), ("which devices", "GPU-a, GPU-b"), ("firmware", "2 × 96.00")
        )]),
        (system(devices=FACTS["system"]["devices"][::-1]), []),
        (devices(firmware="97.00"), [("machine", "firmware", "2 × 96.00", "2 × 97.00")]),
        (devices(uuid=None), [("machine", "which devices", "GPU-a, GPU-b", "1, 2")]),
        (devices(name="H200"), [("machine", "devices", "2 × H100", "2 × H200")]),
        ({"milabench": "0.2.0"}, [("software", "milabench", "0.1.0", "0.2.0")]),
        ({"python": None}, [("software", "python", "3.12.1", None)]),
        ({"config": "/elsewhere/suite.yaml"}, []),
        ({"side_by_side": True}, [("suite", "side by side", "no", "yes")]),
        ({"multirun": {"options": {"sizer.mult": 2}}}, [("suite", "sizer.mult", None, "2")]),
        ({"code": {"/other/bert": "0123456789abffff"}}, []),
        ({"code": {"/other/bert": "ff23456789abcdef"}}, [("code", "bert", "0123456789ab", "ff23456789ab")]),
        ({"environ": {"MILABENCH_BASE": "/other"}}, [("environ", "MILABENCH_SIZER_AUTO", "1", None)]),
        ({"preflight": [{"code": "machine-busy", "subject": "cpu", "what": "2.0 of 2 cores"}]}, []),
        ({"container": INSIDE}, [
            ("container", "image", None, "e.org/i:1 sha256:0123456789ab"), ("container", "program", None, "podman"),
            ("container", "arguments", None, "--cpus=0.5"),
        ]),
        ({"preflight": []}, [("conditions", "machine-busy cpu", "1.0 of 2 cores", None)]),
        (
            {"environments": {"torch": ["torch==2.9.1", "numpy==2.1.0", "triton==3.5"]}},
            [
                ("environment torch", "torch", "2.9.0", "2.9.1"),
                ("environment torch", "mine", "file:///src/mine", None),
                ("environment torch", "triton", None, "3.5"),
            ],
        ),
    ],
)  # fmt: skip
def test_each_fact_that_changed_is_told_with_both_values(
    fields: dict[str, Any], found: list[tuple[str, str, str | None, str | None]]
) -> None:
    assert changed(**fields) == found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"args": []}, [("arguments", "--cpus=0.5", None)]),
        ({"executable": "/opt/docker"}, [("program", "podman", "/opt/docker")]),
        (
            {"images": {"n1": {**IMAGE, "digest": "sha256:fedcba9876543210"}}},
            [("image", "e.org/i:1 sha256:0123456789ab", "e.org/i:1 sha256:fedcba987654")],
        ),
        (
            {"image": "/", "images": {"n1": {"digest": None, "id": None, "root": "/"}}},
            [("image", "e.org/i:1 sha256:0123456789ab", "/ (a folder)")],
        ),
        ({"images": {}}, [("image", "e.org/i:1 sha256:0123456789ab", "e.org/i:1")]),
    ],
)
def test_what_changed_of_containers_is_told(
    fields: dict[str, Any], found: list[tuple[str, str | None, str | None]]
) -> None:
    differ = differences({**FACTS, "container": INSIDE}, {**FACTS, "container": {**INSIDE, **fields}})
    assert [(each.name, each.before, each.after) for each in differ.changed] == found
    assert ("container" in differ.same) == (not found)


def test_an_environment_of_one_run_only_is_not_known_of_both() -> None:
    found = differences(FACTS, {**FACTS, "environments": {"jax": ["jax==1"]}})
    assert (found.changed, found.unknown) == ((), ("environment torch", "environment jax"))


@pytest.mark.parametrize("missing", [False, True], ids=["started", "never started"])
def test_only_the_code_of_benchmarks_in_both_runs_is_compared(missing: bool) -> None:
    """B ran some of A's benchmarks (``--select``); where they are of one folder it is compared."""
    code = {"/src/bert": "aa", "/src/prep": "bb", "/src/shared": "cc"}
    a, b, c = (
        benchmark(name, FIVE, {"definition": f"/src/{of}"})
        for name, of in (("a", "bert"), ("b", "shared"), ("c", "shared"))
    )
    prep = benchmark("prep", FIVE, {"definition": "/src/prep"})
    whole = summary(a, b, c, *(() if missing else (prep,)), facts={**FACTS, "code": code})
    if missing:
        absent = Missing(benchmark="prep", outcome="lost", reason="", weight=1.0, enabled=True, definition="/src/prep")
        whole = replace(whole, missing=(absent,))
    for digest, found in (("aa", []), ("ab", [("bert", "aa", "ab")])):
        selected = summary(a, b, facts={**FACTS, "code": {"/src/bert": digest, "/src/shared": "cc"}})
        told = compare(whole, selected).changed
        assert [(each.name, each.before, each.after) for each in told if each.area == "code"] == found
        assert not [each for each in compare(selected, whole).changed if each.name in ("prep", "shared")]


def test_what_a_run_of_another_tool_does_not_tell_is_unknown() -> None:
    found = differences({}, FACTS)
    assert (found.changed, found.same) == ((), ())
    assert found.unknown[:3] == ("machine", "software", "code")


@pytest.mark.parametrize("value", [None, 7, "text", [], [1], {}, {"a": 1}, {"a": None}, [{"code": 1}]])
@pytest.mark.parametrize(
    "name", ["system", "environ", "environments", "code", "container", "preflight", "config", "multirun"]
)
def test_a_damaged_fact_breaks_nothing(name: str, value: object) -> None:
    for before, after in ((FACTS, {**FACTS, name: value}), ({**FACTS, name: value}, FACTS)):
        differences(before, after)
    differences({**FACTS, "system": {"devices": value, "nodes": value, "cpus": value}}, FACTS)


def test_nodes_are_told_together() -> None:
    nodes = [{"name": name, "cpus": 8, "devices": [{"name": "H100", "uuid": f"GPU-{name}"}]} for name in "ab"]
    (found,) = differences(
        {"system": {"arch": "cuda", "nodes": nodes}}, {"system": {"arch": "cuda", "nodes": [*nodes, nodes[0]]}}
    ).changed[:1]
    assert found == Change(area="machine", name="hostname", before="a, b", after="a, b, a")


# What benchmarks were asked to do ------------------------------------------------------------------------------------


def work(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    (found,) = compare(summary(benchmark("a", FIVE, before)), summary(benchmark("a", FIVE, after))).benchmarks
    assert found.verdict == "same"  # it is compared all the same
    return [(each.name, each.before, each.after) for each in found.changed]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"argv": {"--batch-size": 32}}, {"argv": {"--batch-size": 64}}, [("argv.--batch-size", "32", "64")]),
        ({"argv": ["-x"]}, {"argv": ["-y"]}, [("argv", '["-x"]', '["-y"]')]),
        ({"argv": {}}, {"argv": {"--amp": True}}, [("argv.--amp", None, "true")]),
        (
            {"voir": {"options": {"stop": 60}}},
            {"voir": {"options": {"stop": 30}}},
            [("voir.options.stop", "60", "30")],
        ),
        ({"definition": "/a/bert"}, {"definition": "/b/bert"}, []),
        ({"definition": "/a/bert"}, {"definition": "/a/gpt"}, [("definition", "bert", "gpt")]),
        (
            {"dirs": {"data": "/a/data", "venv": "/a"}, "argv": {"--data": "/a/data/x"}},
            {"dirs": {"data": "/b/data", "venv": "/b"}, "argv": {"--data": "/b/data/x"}},
            [],
        ),
        ({"tag": ["a", "D0"], "device": 0, "run_name": "x", "weight": 1}, {"tag": ["a", "D1"], "weight": 1}, []),
    ],
)
def test_other_work_is_named(
    before: dict[str, Any], after: dict[str, Any], found: list[tuple[str, str | None, str | None]]
) -> None:
    assert work({"argv": None, **before}, {"argv": None, **after}) == found


def test_other_numbers_of_devices_are_named() -> None:
    def on(*devices: int, ngpu: int = 1) -> Any:
        each = (process("a", 100.0, device=device, ngpu=ngpu) for device in devices)
        return summary(of("a", *each))

    assert [each.name for each in compare(on(0, 1), on(0)).benchmarks[0].changed] == ["devices"]
    assert [each.name for each in compare(on(0), on(0, ngpu=4)).benchmarks[0].changed] == ["devices of one process"]
    assert compare(on(0, 1), on(2, 3)).benchmarks[0].changed == ()
