"""The keys of a system file: what each takes, means, and is by default.

``KEYS`` are those under ``system:`` (their examples stand there), ``TOP`` those of the file (whole files as examples).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from milabench import options
from milabench.keys import Key, Kind
from milabench.system.types import ARCHES

KIND_OF_OPTION: Mapping[options.Kind, Kind] = {
    "duration": "time",
    "integer": "whole",
    "number": "number",
    "path": "scalar",
    "size": "size",
    "switch": "switch",
    "text": "scalar",
    "words": "words",
}
_EXAMPLES = {
    "dirs.cache": "dirs: {cache: /scratch/cache}",
    "dirs.data": "dirs: {data: /scratch/data}",
    "dirs.extra": "dirs: {extra: /scratch/extra}",
    "dirs.runs": "dirs: {runs: /scratch/runs}",
    "dirs.venv": "dirs: {venv: /scratch/venv}",
    "docker.args": "docker: {image: 'example.org/bench:1', args: [--shm-size=16g]}",
    "docker.base": "docker: {image: 'example.org/bench:1', base: /tmp/workspace}",
    "docker.executable": "docker: {image: 'example.org/bench:1', executable: docker}",
    "docker.image": "arch: cuda\ndocker: {image: 'example.org/bench:${system.arch}'}",
    "gpu.capacity": "gpu: {capacity: 80 GiB}",
    "gpu.count": "gpu: {count: 8}",
}


def _options(section: str) -> dict[str, Key]:
    """Return the keys of a part of the file that holds options."""
    found = {}
    for name, option in options.OPTIONS.items():
        if options.place_of(name) == f"system.{name}" and name.startswith(f"{section}."):
            meaning = option.meaning + (f"; no effect: {option.idle}" if option.idle else "")
            found[name.removeprefix(f"{section}.")] = Key(
                kind=KIND_OF_OPTION[option.kind],
                meaning=f"{meaning[0].upper()}{meaning[1:]}.",
                default=option.default,
                least=option.least,
                most=option.most,
                example=_EXAMPLES[name],
            )
    return found


_GPU = _options("gpu")
_NODE = {
    "name": Key(
        kind="scalar",
        meaning="What the node is called, in plans and reports; needed, and different for each.",
        example="nodes: [{name: node1, main: true}]",
    ),
    "ip": Key(
        kind="scalar",
        meaning="Its address.",
        otherwise="its name",
        example="nodes: [{name: node1, ip: 10.0.0.1, main: true}]",
    ),
    "user": Key(
        kind="scalar",
        meaning="Who logs in there.",
        example="nodes: [{name: node1, user: bench, main: true}]",
    ),
    "main": Key(
        kind="switch",
        meaning="Whether it is the one that comes first: exactly one is.",
        otherwise="the first node, with a warning",
        example="nodes: [{name: node1, main: true}, {name: node2}]",
    ),
    "port": Key(
        kind="whole",
        meaning="Its port of SSH; 22 is as if it said none.",
        otherwise="that of ~/.ssh/config, else 22",
        least=1,
        most=65535,
        example="nodes: [{name: node1, port: 2222, main: true}]",
    ),
    "sshport": Key(
        kind="whole",
        meaning="The same; it wins over port.",
        otherwise="port",
        least=1,
        most=65535,
        example="nodes: [{name: node1, sshport: 2222, main: true}]",
    ),
    "gpu": Key(
        kind="map",
        meaning="Its devices, where they are to differ from those of the other nodes.",
        inside={
            name: replace(
                key, otherwise="as system.gpu says", example=f"nodes: [{{name: node1, main: true, {key.example}}}]"
            )
            for name, key in _GPU.items()
        },
        example="nodes: [{name: node1, main: true, gpu: {count: 4, capacity: 40 GiB}}]",
    ),
    "cpus": Key(
        kind="whole",
        meaning="Its cores.",
        otherwise="those of this machine",
        least=1,
        example="nodes: [{name: node1, main: true, cpus: 64}]",
    ),
    "python": Key(
        kind="scalar",
        meaning="Its Python, 3.10 or newer: a path there, or a name on its PATH.",
        otherwise="python3",
        example="nodes: [{name: node1, main: true, python: /opt/python3.11/bin/python3}]",
    ),
    "hostkey": Key(
        kind="scalar",
        meaning="The SSH key that it must show: a public key, as in known_hosts, or its fingerprint (SHA256:…).",
        otherwise="what known_hosts has of it",
        example="nodes: [{name: node1, main: true, hostkey: 'SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'}]",
    ),
    "interface": Key(
        kind="text",
        meaning="The network interface by which ranks of a training over several nodes talk to those on others.",
        otherwise="that of the route to the main node, when it is connected",
        example="nodes: [{name: node1, main: true, interface: ib0}]",
    ),
}
_RUN = {
    "name": Key(
        kind="text",
        meaning="The name of each run; {option.path} stands for that option's value (- for what no folder can be"
        " called), {time} for the time.",
        example="multirun: {runs: [{name: 'x{sizer.mult}.{time}', matrix: {sizer.auto: 1, sizer.mult: [0.5, 1]}}]}",
    ),
    "matrix": Key(
        kind="map",
        open=True,
        meaning="Options by their path and the values to combine: a run for each combination.",
        example="multirun: {runs: [{name: 'x{sizer.mult}', matrix: {sizer.auto: 1, sizer.mult: [0.5, 1, 2]}}]}",
    ),
}

KEYS: Mapping[str, Key] = {
    "arch": Key(
        kind="choice",
        choices=ARCHES,
        meaning="The architecture of the accelerators.",
        otherwise="what is probed",
        example="arch: cuda",
    ),
    "nodes": Key(
        kind="maps",
        meaning="The machines.",
        otherwise="this machine alone",
        inside=_NODE,
        example="nodes: [{name: node1, ip: 10.0.0.1, main: true}, {name: node2, ip: 10.0.0.2}]",
    ),
    "gpu": Key(
        kind="map",
        meaning="The devices of each node, where they are to differ from what is probed.",
        inside=_GPU,
        example="gpu: {count: 8, capacity: 80 GiB}",
    ),
    "sshkey": Key(
        kind="scalar",
        meaning="The key file for SSH.",
        example="sshkey: ~/.ssh/id_ed25519",
    ),
    "docker_image": Key(
        kind="scalar",
        meaning="The container image that benchmarks run in.",
        example="docker_image: example.org/bench:1",
    ),
    "docker": Key(
        kind="map",
        meaning="The container that benchmarks run in.",
        inside=_options("docker"),
        example="docker: {image: 'example.org/bench:1', executable: podman}",
    ),
    "dirs": Key(
        kind="map",
        meaning="Folders other than those under the base: they do nothing yet.",
        inside=_options("dirs"),
        example="dirs: {data: /scratch/data}",
    ),
    "options": Key(
        kind="map",
        open=True,
        meaning="Options by their path, such as torchrun.port.",
        example="options: {torchrun: {port: 29500}}",
    ),
}

TOP: Mapping[str, Key] = {
    "system": Key(
        kind="map",
        meaning="The machines that benchmarks run on.",
        otherwise="this machine, as it is probed",
        inside=KEYS,
        example="system: {arch: cuda, nodes: [{name: node1, main: true}]}",
    ),
    "multirun": Key(
        kind="map",
        meaning="Repeats the whole run over values of options.",
        inside={
            "runs": Key(
                kind="maps",
                meaning="The repetitions, one after the other.",
                inside=_RUN,
                example=_RUN["name"].example,
            )
        },
        example=_RUN["matrix"].example,
    ),
}
