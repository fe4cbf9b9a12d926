"""The keys of an entry of a suite: what each takes, means, and is by default. Examples stand in an entry."""

from __future__ import annotations

from collections.abc import Mapping

from milabench.keys import Key
from milabench.suite.readiness import READY

_STOP = {
    "observations": Key(
        kind="whole",
        meaning="Measured steps after which a process is ended.",
        least=1,
        example="voir: {options: {stop: {observations: 60}}}",
    ),
    "seconds": Key(
        kind="time",
        meaning="Measured time after which a process is ended.",
        example="voir: {options: {stop: {seconds: 30s}}}",
    ),
    "precision": Key(
        kind="fraction",
        meaning="Half width of the rate's 95 % interval, relative to the rate, at which a process is ended: above 0 "
        "and under 1. Looked at after 40 measured steps, then after a quarter more each time; 2 % takes 200 of them "
        "at least, 1 % 400. Give a time or a number of observations beside it: a rate that never is as precise is "
        "measured until max_duration.",
        example="voir: {options: {stop: {precision: 2%, seconds: 60s}}}",
    ),
}
VOIR: Mapping[str, Key] = {
    "stop": Key(
        kind="whole",
        meaning="Measured steps (observations) after which a process is ended; as a map, whatever is met first. "
        "With null nothing but max_duration ends it.",
        default=60,
        least=1,
        inside=_STOP,
        example="voir: {options: {stop: 120}}",
    ),
    "skip": Key(
        kind="whole",
        meaning="Steps of warm-up before the measured ones; they count for nothing.",
        default=5,
        least=0,
        example="voir: {options: {skip: 20}}",
    ),
    "interval": Key(
        kind="time",
        meaning="Time between two looks of monitors that a script starts itself and that ask for it; milabench's own "
        "has the system's `monitor.interval`.",
        default="1s",
        example="voir: {options: {interval: 250ms}}",
    ),
    "gpu_poll": Key(
        kind="time",
        meaning="The same for monitors of devices that a script starts itself.",
        otherwise="interval",
        example="voir: {options: {gpu_poll: 3}}",
    ),
    "dash": Key(
        kind="any",
        meaning="The dashboard voir would show; passed on to it.",
        example="voir: {options: {dash: false}}",
    ),
}
_PLAN = {
    "method": Key(
        kind="choice",
        choices=("per_gpu", "njobs", "per_node"),
        meaning="per_gpu: one process per device, which sees that device alone (a machine without accelerators counts "
        "as one device). njobs: n processes that see all devices. Both on the main node, or on num_machines nodes. "
        "per_node: the same on every node.",
        otherwise="njobs for a command, needed for a definition",
        example="plan: {method: per_gpu}",
    ),
    "n": Key(
        kind="whole",
        meaning="Number of processes of njobs.",
        default=1,
        least=1,
        example="plan: {method: njobs, n: 2}",
    ),
    "share": Key(
        kind="switch",
        meaning="Whether the processes of njobs get disjoint shares of the devices instead of all of them.",
        default=False,
        example="plan: {method: njobs, n: 2, share: true}",
    ),
}
_COMMAND = {
    "argv": Key(
        kind="program",
        meaning="The program and its arguments, word for word.",
        example="command: {argv: [sh, copy.sh, 64M]}",
    ),
    "cwd": Key(
        kind="text",
        meaning="The folder it is started in, relative to the file that writes this key.",
        otherwise="the folder of the file that writes argv; on another machine the base",
        example="command: {argv: [sh, copy.sh], cwd: .}",
    ),
    "env": Key(
        kind="variables",
        meaning="Variables of this program, over those of the entry's env.",
        example="command: {argv: [sh, copy.sh], env: {BLOCK: 64}}",
    ),
}
_DEFINITION = {
    "git": Key(
        kind="text",
        meaning="A repository that `milabench install` fetches; reading the suite does not.",
        example="definition: {git: 'https://example.org/mine.git', tag: v1.2}",
    ),
    "branch": Key(
        kind="scalar",
        meaning="The branch to take; the commit it leads to when it is installed is kept.",
        example="definition: {git: 'https://example.org/mine.git', branch: main}",
    ),
    "tag": Key(
        kind="scalar",
        meaning="The tag to take.",
        example="definition: {git: 'https://example.org/mine.git', tag: v1.2}",
    ),
    "commit": Key(
        kind="scalar",
        meaning="The commit to take, all 40 digits of it: the one way to name exactly what is measured.",
        example="definition: {git: 'https://example.org/mine.git', commit: 3f9ab0c2d4e6f8091a2b3c4d5e6f708192a3b4c5}",
    ),
    "path": Key(
        kind="text",
        meaning="The benchmark's folder within the repository.",
        otherwise="the repository itself",
        example="definition: {git: 'https://example.org/mine.git', tag: v1.2, path: benchmarks/mine}",
    ),
}
_USAGE = {
    "gpu_load_threshold": Key(
        kind="fraction",
        meaning="Least mean load of the devices over the measured steps.",
        otherwise="not checked",
        example="validation: {usage: {gpu_load_threshold: 50%}}",
    ),
    "gpu_mem_threshold": Key(
        kind="fraction",
        meaning="Least share of the devices' memory in use, as a mean over the measured steps.",
        otherwise="not checked",
        example="validation: {usage: {gpu_mem_threshold: 0.5}}",
    ),
}
_MATRIX = {
    "exclude": Key(
        kind="maps",
        open=True,
        meaning="Combinations to leave out: every one that has all the values of a row.",
        example="matrix: {size: [8, 16], type: [a, b], exclude: [{size: 16, type: b}]}\njob: {name: 'x-{size}-{type}'}",
    ),
    "include": Key(
        kind="maps",
        open=True,
        meaning="Rows to add: their values go into every combination they fit; a row that fits none is one of its own.",
        example="matrix: {size: [8, 16], type: a, include: [{size: 64, type: b}]}\njob: {name: 'x-{size}-{type}'}",
    ),
}
_ARGV = Key(
    kind="argv",
    meaning="Its arguments, written as those of argv.",
    example="server: {argv: {--port: 8000}}",
)

KEYS: Mapping[str, Key] = {
    "inherits": Key(
        kind="texts",
        meaning="The entry, or the entries, that this one is merged over; of several, the later wins.",
        example="inherits: [_mine, _short]",
    ),
    "definition": Key(
        kind="text",
        meaning="The benchmark's folder, relative to the file that writes this key; or where git finds it.",
        otherwise="needed, where there is no command",
        inside=_DEFINITION,
        example="definition: benchmarks/mine",
    ),
    "command": Key(
        kind="map",
        meaning="A program to run instead of a definition: no folder, no environment, no Python. It prints its "
        "metrics as JSON lines.",
        inside=_COMMAND,
        example="command: {argv: [sh, copy.sh, 64M]}",
    ),
    "plan": Key(
        kind="map",
        meaning="How its processes are placed on the devices of a node.",
        otherwise="needed, but for a command",
        inside=_PLAN,
        example="plan: {method: per_gpu}",
    ),
    "num_machines": Key(
        kind="whole",
        meaning="How many nodes it uses, the main one first; on a system with fewer it is skipped.",
        default=1,
        least=1,
        example="num_machines: 2",
    ),
    "requires_capabilities": Key(
        kind="words",
        meaning="Conditions on the system; where one does not hold the benchmark is skipped, and says so.",
        example="requires_capabilities: [\"gpu['count'] > 1\", 'len(nodes) >= ${..num_machines}']\nnum_machines: 2",
    ),
    "argv": Key(
        kind="argv",
        meaning="The arguments of the benchmark's script: a map of options, or a list taken word for word.",
        example="argv: {--batch-size: 64, --workers: '{n_worker}', --fast: true}",
    ),
    "server": Key(
        kind="map",
        open=True,
        meaning="The server of a benchmark that has one; it is ended when the client is done.",
        inside={
            "argv": _ARGV,
            "ready": Key(
                kind="map",
                meaning="What the client waits for before it starts: one of port, url, file and log.",
                otherwise="the client starts right after it",
                inside=READY,
                example="server: {argv: {--port: 8000}, ready: {port: 8000, within: 60s}}",
            ),
        },
        example="server: {argv: {--port: 8000}, ready: {port: 8000}}",
    ),
    "client": Key(
        kind="map",
        open=True,
        meaning="The client that measures a server.",
        inside={
            "argv": Key(kind="argv", meaning=_ARGV.meaning, example="client: {argv: {--requests: 100}}"),
        },
        example="client: {argv: {--requests: 100}}",
    ),
    "env": Key(
        kind="variables",
        meaning="Further environment variables. A secret is named, as NAME: ${secret:NAME}, and taken from your own "
        "environment when the process starts.",
        example="env: {NCCL_DEBUG: WARN, HF_TOKEN: '${secret:HF_TOKEN}'}",
    ),
    "voir": Key(
        kind="map",
        meaning="How it is measured.",
        inside={
            "options": Key(
                kind="map",
                open=True,
                meaning="Options of the measurement; others than these go to the benchmark's voirfile.",
                inside=VOIR,
                example="voir: {options: {stop: 60, skip: 5}}",
            )
        },
        example="voir: {options: {stop: 60, skip: 5, interval: 1s}}",
    ),
    "max_duration": Key(
        kind="time",
        meaning="Time after which it is ended (SIGTERM, and SIGKILL 5 s later) and counts as failed.",
        default=600,
        example="max_duration: 10m",
    ),
    "validation": Key(
        kind="map",
        open=True,
        meaning="Thresholds of the checks; what is not written is not checked. They are kept with a run, nothing "
        "judges them yet.",
        inside={
            "usage": Key(
                kind="map",
                open=True,
                meaning="How well the devices must be used; without an accelerator it does not apply.",
                inside=_USAGE,
                example="validation: {usage: {gpu_load_threshold: 0.5, gpu_mem_threshold: 0.5}}",
            )
        },
        example="validation: {usage: {gpu_load_threshold: 50%}}",
    ),
    "enabled": Key(
        kind="switch",
        meaning="Whether it runs and counts.",
        default=True,
        example="enabled: false",
    ),
    "weight": Key(
        kind="number",
        meaning="Its share of the total score; 0 runs it and leaves it out of the score.",
        otherwise="1 where no benchmark of the suite has one, else 0",
        least=0,
        example="weight: 2",
    ),
    "tags": Key(
        kind="words",
        meaning="Words to select it by. Those of all it inherits are united. gated: its model or data need "
        "access that is granted, and a token.",
        example="tags: [vision, resnet]",
    ),
    "group": Key(
        kind="text",
        meaning="The group it belongs to: a word to select it by, and the name of its folder for extra files.",
        otherwise="its own name",
        example="group: resnet",
    ),
    "install_group": Key(
        kind="text",
        meaning="The environment it is installed into; benchmarks of one install group share it.",
        otherwise="its group",
        example="install_group: torch",
    ),
    "install_variant": Key(
        kind="text",
        meaning="Which locked requirements are installed, requirements.<variant>.txt; unpinned takes requirements.in. "
        "Placeholders may stand in it.",
        default="${system.arch}",
        example="install_variant: unpinned",
    ),
    "url": Key(
        kind="words",
        meaning="Where the model, the data or the code come from; where it is gated, the page to ask for access on.",
        example="url: https://example.org/model",
    ),
    "use_deepspeed": Key(
        kind="switch",
        meaning="Whether the accelerate launcher uses DeepSpeed.",
        default=False,
        example="use_deepspeed: true",
    ),
    "gradient_accumulation_steps": Key(
        kind="whole",
        meaning="What the accelerate launcher is told of gradient accumulation.",
        default=1,
        least=1,
        example="gradient_accumulation_steps: 4",
    ),
    "matrix": Key(
        kind="map",
        open=True,
        meaning="Values to combine: each combination is a benchmark, made from job. The first key varies slowest; one "
        "value alone is a list of one.",
        inside=_MATRIX,
        example="matrix: {size: [8, 16]}\njob: {name: 'x-{size}', argv: {--size: '{size}'}}",
    ),
    "job": Key(
        kind="entry",
        meaning="The benchmark of each combination of a matrix: an entry in which {key} stands for that key's value.",
        inside={
            "name": Key(
                kind="text",
                meaning="The benchmark's name, which must differ from combination to combination.",
                example="matrix: {size: [8, 16]}\njob: {name: 'x-{size}'}",
            )
        },
        example="matrix: {size: [8, 16]}\njob: {name: 'x-{size}', argv: {--size: '{size}'}}",
    ),
    "dirs": Key(
        kind="map",
        open=True,
        meaning="Folders of its own instead of the common ones; nothing uses them so far.",
        example="dirs: {data: /fast/images}",
    ),
    "pip": Key(
        kind="map",
        open=True,
        meaning="Wishes about the installer; handed to the benchmark's benchfile.",
        example="pip: {args: --no-build-isolation}",
    ),
    "venv": Key(
        kind="map",
        open=True,
        meaning="Wishes about the environment; handed to the benchmark's benchfile.",
        example="venv: {system_site_packages: true}",
    ),
}
