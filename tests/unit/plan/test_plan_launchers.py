"""The launchers: what argv and which variables they give a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import planned

from milabench import commands, pack
from milabench.errors import ConfigurationError
from milabench.launchtime import TEMPORARY
from milabench.plan import Command, Plan, codec
from milabench.plan.types import Ranks
from milabench.suite.types import Ready

CUDA = {"arch": "cuda", "gpus": 4}
TWO = "nodes: [{name: a, ip: 10.0.0.1, main: true, interface: ib0}, {name: b, ip: 10.0.0.2}]"
VENV = "/base/venv/b"
MAIN = "/base/code/b/main.py"
ALONE = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
RANKS = ("--nproc-per-node=4", *ALONE)


def plan_of(folder: Path, body: str, entry: str = "plan: {method: njobs, n: 1}, argv: {--x: 1}", **shape: Any) -> Plan:
    """Return the plan of a benchmark whose benchfile returns ``body``; ``plan`` in it is the plain script.

    ``nodes_of`` are the nodes and options of a system file.
    """
    benchfile = f"""
    from milabench.commands import *
    from milabench.pack import Package

    class Other(TorchrunAllGPU):  # as milabench's benchfile for torchtune has it
        def __init__(self, executor, *argv, **options):
            super().__init__(executor, "-m", "launcher", "run", *argv, **options)

        @property
        def executable(self):
            return f"{{self.binfolder}}/bin/python"

        def should_wrap(self):
            return True

    class B(Package):
        def build_run_plan(self):
            plan = PackCommand(self, *self.argv, lazy=True)
            return {body}

    __pack__ = B
    """
    files = {"b/benchfile.py": benchfile, "b/main.py": "", "suite.yaml": f"b: {{definition: b, {entry}}}\n"}
    described = shape.pop("nodes_of", None)
    written = {"system.yaml": f"system: {{{described}}}\n"} if described else {}
    return planned(folder, files | written, **(shape or CUDA))


def commands_of(folder: Path, body: str, *more: str, **shape: Any) -> list[Command]:
    found = plan_of(folder, body, *more, **shape)
    return [command for trial in found.trials for job in trial.jobs for command in job.commands]


@pytest.mark.parametrize(
    ("body", "argv"),
    [
        ("TorchrunAllGPU(plan)", (*RANKS, "--", MAIN, "--x", "1")),
        ("TorchRunCommand(VoirCommand(plan, module=True), module=True)", (*RANKS, "--", MAIN, "--x", "1")),
        ("TorchrunAllGPU(plan, '--max-restarts=0')", ("--max-restarts=0", *RANKS, "--", MAIN, "--x", "1")),
        ("TorchrunAllGPU(plan).use_stdout()", (*RANKS, "--local-ranks-filter=0", "--", MAIN, "--x", "1")),
        ("TorchrunAllGPU(SimpleCommand(self, 'more'))", (*RANKS, "-m", "--", "--x", "1", "more")),
        ("TorchrunAllGPU(CmdCommand(self, './train'))", (*RANKS, "--no-python", "--", "./train")),
        ("TorchrunAllGPU(CmdCommand(self, 'train'), module=True)", (*RANKS, "-m", "--", "train")),
        (
            "TorchrunAllGPU(WrapperCommand(plan, 'numactl'))",
            (*RANKS, "--no-python", "--", "numactl", f"{VENV}/bin/python", MAIN, "--x", "1"),
        ),
        ("TorchrunAllNodes(plan)", (*RANKS, "--", MAIN, "--x", "1")),
    ],
)
def test_torchrun_starts_a_rank_per_device(tmp_path: Path, body: str, argv: tuple[str, ...]) -> None:
    (found,) = commands_of(tmp_path, body)
    assert found.argv == (f"{VENV}/bin/torchrun", *argv)
    assert found.devices == (0, 1, 2, 3)
    assert (found.env["CUDA_VISIBLE_DEVICES"], found.env["OMP_NUM_THREADS"]) == ("0,1,2,3", "4")


def test_torchrun_runs_a_voirfile_in_every_rank(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "voirfile.py").touch()
    (found,) = commands_of(tmp_path, "TorchrunAllGPU(VoirCommand(plan))")
    assert found.argv[5:8] == ("-m", "--", "benchmate.overseer")
    assert found.env["VOIRFILE"] == "/base/code/b/voirfile.py"


@pytest.mark.parametrize(
    "body", ["TorchrunAllGPU(plan)", "TorchrunAllNodes(plan)", "TorchrunAllGPU(plan, cpu_ranks=2)"]
)
def test_a_process_with_one_device_is_the_script_itself(tmp_path: Path, body: str) -> None:
    found = commands_of(tmp_path, body, "plan: {method: per_gpu}")
    assert [command.argv for command in found] == [(f"{VENV}/bin/python", MAIN)] * 4
    assert [command.devices for command in found] == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(("cpus", "threads"), [(16, "8"), (2, "1")])
def test_ranks_on_a_cpu_share_its_cores(tmp_path: Path, cpus: int, threads: str) -> None:
    (found,) = commands_of(tmp_path, "TorchrunAllGPU(plan, cpu_ranks=2)", arch="cpu", cpus=cpus)
    assert found.argv[:5] == (f"{VENV}/bin/torchrun", "--nproc-per-node=2", *ALONE)
    assert found.env["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize("body", ["TorchrunAllGPU(plan)", "TorchrunAllGPU(plan, cpu_ranks=2)"])
def test_a_cpu_with_one_core_has_no_ranks(tmp_path: Path, body: str) -> None:
    (found,) = commands_of(tmp_path, body, arch="cpu", cpus=1)
    assert found.argv[1] == MAIN


def test_torchrun_on_two_nodes_meets_on_the_main_one(tmp_path: Path) -> None:
    entry = "plan: {method: njobs, n: 1}, num_machines: 2"
    first, second = commands_of(tmp_path, "TorchrunAllNodes(plan)", entry, arch="cuda", gpus=4, nodes=2)
    assert (first.tag, first.rank, second.tag, second.rank) == (f"b.{first.node}", 0, f"b.{second.node}", 1)
    assert first.node != second.node
    assert (first.metrics, second.metrics) == ("file", "none")
    meeting = ("--rdzv-backend=static", f"--rdzv-endpoint={first.node}:${{port:29400}}")
    for rank, command in enumerate((first, second)):
        assert command.argv[1:4] == ("--nnodes=2", *meeting)
        assert {f"--node-rank={rank}", f"--local-addr={command.node}", "--nproc-per-node=4"} <= set(command.argv)
        assert "--rdzv-conf=timeout=360" in command.argv  # longer than the runner waits, who says what to check
        assert not {*ALONE} & {*command.argv}
        assert command.ranks == Ranks(leader=first.tag, first=4 * rank, count=4, nodes=2, address=command.node)


@pytest.mark.parametrize(
    ("entry", "nodes", "within_s", "waits"),
    [
        ("num_machines: 2", 2, 300.0, "--rdzv-conf=timeout=360"),
        ("num_machines: 2, max_duration: 100s", 2, 80.0, "--rdzv-conf=timeout=360"),
        ("num_machines: 1", 2, 300.0, None),
        ("num_machines: 1, plan: {method: per_gpu}", 1, None, None),
    ],
)
def test_ranks_of_a_group_are_to_be_heard_of_in_time(
    tmp_path: Path, entry: str, nodes: int, within_s: float | None, waits: str | None
) -> None:
    entry = entry if "plan" in entry else f"plan: {{method: njobs}}, {entry}"
    ((job,),) = (trial.jobs for trial in plan_of(tmp_path, "TorchrunAllNodes(plan)", entry, **CUDA, nodes=nodes).trials)
    assert job.first_event_s == within_s
    assert [word for word in job.commands[0].argv if word.startswith("--rdzv-conf")] == ([waits] if waits else [])


def test_without_a_first_event_torchrun_waits_as_long_as_it_does_by_itself(tmp_path: Path) -> None:
    described = f"options: {{torchrun.first_event_s: 0}}, {TWO}"
    entry = "plan: {method: njobs}, num_machines: 2"
    (trial,) = plan_of(tmp_path, "TorchrunAllNodes(plan)", entry, **CUDA, nodes_of=described).trials
    assert trial.jobs[0].first_event_s is None
    assert not any("--rdzv-conf" in word for word in trial.commands[0].argv)


def test_copies_of_a_training_over_several_nodes_are_groups_of_their_own(tmp_path: Path) -> None:
    entry = "plan: {method: njobs, n: 2, share: true}, num_machines: 2"
    found = commands_of(tmp_path, "TorchrunAllNodes(plan)", entry, **CUDA, nodes=2)
    assert [(each.tag, each.ranks and (each.ranks.leader, each.ranks.first, each.ranks.count)) for each in found] == [
        ("b.0.node0", ("b.0.node0", 0, 2)),
        ("b.0.node1", ("b.0.node0", 2, 2)),
        ("b.1.node0", ("b.1.node0", 0, 2)),
        ("b.1.node1", ("b.1.node0", 2, 2)),
    ]


def test_a_process_of_one_rank_is_no_group(tmp_path: Path) -> None:
    (found,) = commands_of(tmp_path, "TorchrunAllNodes(plan)", "plan: {method: njobs}", arch="cuda", gpus=1)
    assert found.ranks is None


def test_the_interface_of_a_node_is_told_unless_the_entry_says_otherwise(tmp_path: Path) -> None:
    entry = "plan: {method: njobs}, num_machines: 2, env: {TP_SOCKET_IFNAME: eth7}"
    first, second = commands_of(tmp_path, "TorchrunAllNodes(plan)", entry, **CUDA, nodes_of=TWO)
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
    assert [first.env.get(name) for name in names] == ["ib0", "=ib0", "eth7"]
    assert [second.env.get(name) for name in names] == [None, None, "eth7"]
    (alone,) = commands_of(tmp_path, "TorchrunAllNodes(plan)", "plan: {method: njobs}", **CUDA, nodes_of=TWO)
    assert "GLOO_SOCKET_IFNAME" not in alone.env


def test_accelerate_on_cpus_says_which_rank_each_node_is(tmp_path: Path) -> None:
    entry = "plan: {method: njobs}, num_machines: 2"
    found = commands_of(tmp_path, "AccelerateAllNodes(plan)", entry, arch="cpu", cpus=4, nodes=2)
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    assert [[each.env[name] for name in names] for each in found] == [["0", "2", "0", "1"], ["1", "2", "0", "1"]]
    for command in found:
        assert {"--cpu", "--num_processes=2", "--main_process_port=${port:29400}"} <= set(command.argv)
        assert "--multi_gpu" not in command.argv


def test_accelerate_with_a_device_on_each_node_is_a_group(tmp_path: Path) -> None:
    entry = "plan: {method: njobs}, num_machines: 2"
    found = commands_of(tmp_path, "AccelerateAllNodes(plan)", entry, arch="cuda", gpus=1, nodes=2)
    assert all({"--multi_gpu", "--num_processes=2", "--rdzv_conf=timeout=360"} <= set(each.argv) for each in found)
    assert [each.ranks and (each.ranks.first, each.ranks.count) for each in found] == [(0, 1), (1, 1)]
    assert "RANK" not in found[0].env


def test_another_launcher_takes_torchruns_place(tmp_path: Path) -> None:
    body = "Other(SimpleCommand(self))"
    argv = "argv: [./recipe, a=1]"
    (found,) = commands_of(tmp_path, body, f"plan: {{method: njobs, n: 1}}, {argv}")
    assert found.argv == (f"{VENV}/bin/python", "-m", "launcher", "run", *RANKS, "--", "./recipe", "a=1")
    (alone, *_) = commands_of(tmp_path, body, f"plan: {{method: per_gpu}}, {argv}")
    assert alone.argv == (f"{VENV}/bin/python", "-m", "launcher", "run", "--", "./recipe", "a=1")


@pytest.mark.parametrize(
    ("entry", "flags"),
    [
        ("plan: {method: njobs, n: 1}", ["--multi_gpu", "--gradient_accumulation_steps=1"]),
        (
            "plan: {method: njobs, n: 1}, use_deepspeed: true, gradient_accumulation_steps: 4",
            ["--use_deepspeed", "--deepspeed_multinode_launcher=standard", "--zero_stage=2"],
        ),
    ],
)
def test_accelerate_launches_a_process_per_device(tmp_path: Path, entry: str, flags: list[str]) -> None:
    (found,) = commands_of(tmp_path, "AccelerateAllNodes(plan).use_stdout()", entry)
    assert found.argv[:2] == (f"{VENV}/bin/accelerate", "launch")
    assert {"--machine_rank=0", "--num_machines=1", "--num_processes=4", *flags} <= set(found.argv)
    assert (found.argv[-1], found.metrics) == (MAIN, "stdout")


def test_accelerate_on_one_device_is_the_script_itself(tmp_path: Path) -> None:
    found = commands_of(tmp_path, "AccelerateAllNodes(plan)", "plan: {method: per_gpu}")
    assert {command.argv for command in found} == {(f"{VENV}/bin/python", MAIN)}


@pytest.mark.parametrize(
    "body",
    [
        "ActivatorCommand(plan)",
        "WorkingDir(plan)",
        "DockerRunCommand(plan, None)",
        "SSHCommand(plan, 'localhost', user='me', key='k', port=22)",
        "ForeachNode(plan, use_docker=False)",
        "ListCommand(plan)",
    ],
)
def test_what_only_says_where_leaves_the_argv_alone(tmp_path: Path, body: str) -> None:
    (found,) = commands_of(tmp_path, body)
    assert found.argv == (f"{VENV}/bin/python", MAIN, "--x", "1")
    assert found.cwd == "/base/code/b"
    assert found.node == commands_of(tmp_path, "plan")[0].node


def test_of_a_server_on_several_nodes_the_leader_is_to_be_ready(tmp_path: Path) -> None:
    entry = "plan: {method: njobs, n: 1}, num_machines: 2, server: {ready: {port: 8000}}"
    server = "TorchrunAllNodes(PackCommand(ClientServer.new_server_pack(self)))"
    body = f"ClientServer(self, plan, {server})"
    found = commands_of(tmp_path, body, entry, arch="cuda", gpus=4, nodes_of=TWO)
    ready = {command.tag: command.ready and command.ready.port for command in found}
    assert ready == {"b.server.a": 8000, "b.server.b": None, "b": None}


@pytest.mark.parametrize(
    ("body", "goes"),
    [
        ("TorchrunAllGPU(plan)", True),
        ("TorchrunAllNodes(plan)", True),
        ("TorchrunAllGPU(plan, '--tee', '3')", False),
        ("TorchrunAllGPU(plan, '--redirects=3')", False),
        ("TorchrunAllGPU(plan, '--log-dir=/logs')", False),
        ("AccelerateAllNodes(plan)", True),
        ("AccelerateLaunchCommand(plan, 0, '--tee=3')", False),
        ("plan", False),
    ],
)
def test_what_torchrun_writes_unasked_goes_with_its_process(tmp_path: Path, body: str, goes: bool) -> None:
    (command,) = commands_of(tmp_path, body)
    said = [*command.argv, *(f"{name}={value}" for name, value in command.env.items())]
    assert [word for word in said if TEMPORARY in word] == (
        [f"--log_dir={TEMPORARY}" if "Accelerate" in body else f"PET_LOG_DIR={TEMPORARY}"] if goes else []
    )
    assert not any(TEMPORARY in line for line in codec.to_shell(plan_of(tmp_path / "again", body)).splitlines())


def test_a_host_that_is_no_node_is_the_benchfiles_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no node has the name or address nowhere: there are .*10\.0\.0\.2"):
        commands_of(tmp_path, "SSHCommand(plan, 'nowhere')", arch="cuda", gpus=4, nodes_of=TWO)


def test_a_sequence_is_a_job_of_commands_that_follow_each_other(tmp_path: Path) -> None:
    found = plan_of(tmp_path, "SequenceCommand(CmdCommand(self, 'a'), CmdCommand(self, 'b'))")
    (copies,) = (trial.jobs for trial in found.trials)
    assert [(job.sequence, [command.argv for command in job.commands]) for job in copies] == [(True, [("a",), ("b",)])]
    assert [(command.tag, command.metrics) for command in copies[0].commands] == [("b.1", "none"), ("b.2", "file")]


def test_a_list_with_a_sequence_in_it_is_several_jobs(tmp_path: Path) -> None:
    body = "ListCommand(plan, SequenceCommand(CmdCommand(self, 'a'), CmdCommand(self, 'b')))"
    (trial,) = plan_of(tmp_path, body).trials
    assert [(job.sequence, len(job.commands)) for job in trial.jobs] == [(False, 1), (True, 2)]


def test_a_command_keeps_its_own_tag_where_it_is_placed(tmp_path: Path) -> None:
    own = "CmdCommand(self.copy({'tag': [*self.config['tag'], 'prep', 'nolog']}), 'a')"
    (trial,) = plan_of(tmp_path, f"SequenceCommand({own}, plan)", "plan: {method: per_gpu}", arch="cuda", gpus=1).trials
    assert [(command.tag, command.metrics) for command in trial.jobs[0].commands] == [
        ("b.D0.prep", "none"),
        ("b.D0", "file"),
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("SequenceCommand(ListCommand(plan, plan), plan)", "a sequence runs one process at a time"),
        ("WorkingDir(ListCommand(plan, plan))", "goes around one process"),
    ],
)
def test_what_cannot_be_carried_out_is_said(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        commands_of(tmp_path, body)


def test_a_sequence_per_device_is_a_job_per_device(tmp_path: Path) -> None:
    body = "SequenceCommand(CmdCommand(self, 'a'), CmdCommand(self, 'b'))"
    (trial,) = plan_of(tmp_path, body, "plan: {method: per_gpu}").trials
    assert [[command.tag for command in job.commands] for job in trial.jobs] == [
        [f"b.D{device}.1", f"b.D{device}.2"] for device in range(4)
    ]


def test_a_client_measures_and_its_server_serves(tmp_path: Path) -> None:
    body = """ClientServer(
                self,
                client=CmdCommand(ClientServer.new_client_pack(self), "ask"),
                server=CmdCommand(ClientServer.new_server_pack(self), "serve"),
            )"""
    server, client = commands_of(tmp_path, body)
    assert (server.tag, server.metrics, server.service) == ("b.server", "none", True)  # it serves: no rate is expected
    assert (client.tag, client.metrics, client.service) == ("b.client", "file", False)


def test_a_server_is_ready_by_what_the_suite_says_and_may_be_on_another_node(tmp_path: Path) -> None:
    body = """ClientServer(
                self,
                client=CmdCommand(ClientServer.new_client_pack(self), "ask", "{nodes[1].ip}"),
                server=CmdCommand(ClientServer.new_server_pack(self), "serve"),
                different_nodes=True,
            )"""
    ready = "server: {ready: {url: 'http://localhost:80/{milabench_name}', within: 2m}}"
    entry = f"plan: {{method: njobs}}, {ready}"
    server, client = commands_of(tmp_path, body, f"{entry}, num_machines: 2", **CUDA, nodes=2)
    assert (server.node, server.service, client.node, client.argv[1]) == ("node1", True, "node0", "node1")
    assert server.ready == Ready(url="http://localhost:80/b", within_s=120.0)
    assert client.ready is None
    server, client = commands_of(tmp_path, body.replace("{nodes[1].ip}", ""), entry, **CUDA)  # there is no other node
    assert (server.node, client.node) == ("local", "local")


def test_a_preparation_of_its_own_is_planned(tmp_path: Path) -> None:
    benchfile = """
    from milabench.commands import CmdCommand
    from milabench.pack import Package

    class B(Package):
        def build_prepare_plan(self):
            return CmdCommand(self, "python", self.dirs.code / "main.py", *self.argv, "--prepare", env={"WHY": "data"})

    __pack__ = B
    """
    suite = "b: {definition: b, argv: {--size: 1, --n: '{cpu_count}'}, plan: {method: njobs}}\n"
    made = planned(tmp_path, {"b/benchfile.py": benchfile, "b/main.py": "", "suite.yaml": suite}, "prepare")
    (command,) = made.trials[0].jobs[0].commands
    assert command.argv == ("python", MAIN, "--size", "1", "--n", "16", "--prepare")
    assert (command.env["WHY"], command.cwd) == ("data", "/base/code/b")


def test_all_that_milabenchs_benchfiles_import_is_there() -> None:
    names = (
        "PackCommand VoirCommand TorchrunAllGPU TorchrunAllNodes TorchRunCommand ForeachNode PerGPU NJobs ListCommand"
        " SequenceCommand CmdCommand SimpleCommand WrapperCommand WorkingDir ActivatorCommand AccelerateAllNodes"
        " AccelerateLaunchCommand DockerRunCommand SSHCommand ClientServer"
    )
    assert set(names.split()) <= set(commands.__all__)
    assert {*commands.__all__} <= set(dir(commands))
    assert {"BasePackage", "Package"} <= set(dir(pack))
