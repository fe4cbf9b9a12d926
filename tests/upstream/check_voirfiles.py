"""Run the voirfiles of milabench's repository, unchanged, against small scripts that have what they probe.

    python tests/upstream/check_voirfiles.py CHECKOUT [NAME …] --python PYTHON

``PYTHON`` is the interpreter of an environment with voir, torch, torchvision and torchcompat. Each voirfile is run as
milabench runs it, with the script of ``STAND_INS`` that suits it, and has to end well: exit code 0, no error, the
wanted number of rates. Prints a line for each, and the names that scripts and voirfiles of the repository import from
benchmate and that ours has not; exit code 1 when one is otherwise. Not part of ``make test``: nothing of
that repository stands here.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import benchmate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from overseen import Bench, Overseen

STOP, SKIP = 6, 2


@dataclass(frozen=True, slots=True)
class StandIn:
    """A script that has what a voirfile asks for: its text, the modules it imports, how many rates come of it."""

    main: str
    modules: Mapping[str, str] = field(default_factory=dict)
    rates: int = STOP


GIVES_RATES = StandIn("""
    from giving import give

    for number in range(100):
        give(task="train", loss=1.0 / (number + 1))
        give(task="train", rate=10.0 + number % 2, units="items/s")
""")

LOOP = """
    import torch

    class Optimizer:
        def step(self):
            pass

    def {loader}():
        return [(torch.ones(4, 2), torch.ones(4)) for _ in range(100)]

    def {criterion}():
        return torch.nn.MSELoss()

    def {optimizer}():
        return Optimizer()

    def main():
        weights = torch.ones(2, requires_grad=True)
        loader, criterion, optimizer = {loader}(), {criterion}(), {optimizer}()
        for inputs, targets in loader:
            loss = criterion(inputs @ weights, targets)
            loss.backward()
            optimizer.step()

    main()
"""

TEMPLATE = StandIn(
    LOOP.format(loader="my_dataloader_creator", criterion="my_criterion_creator", optimizer="my_optimizer_creator")
)

TORCHVISION = StandIn("""
    import argparse
    import torch
    from benchmate.dataloader import dataloader_arguments, imagenet_dataloader

    def train_epoch(model, criterion, loader):
        for images, classes in loader:
            loss = criterion(images.mean(dim=(1, 2, 3)), classes.float())

    def main():
        parser = argparse.ArgumentParser()
        dataloader_arguments(parser)
        args = parser.parse_args(["--batch-size", "1", "--num-workers", "0", "--loader", "pytorch_fakedataset"])
        train_epoch(None, torch.nn.MSELoss(), imagenet_dataloader(args, None))

    main()
""")

TIMM = StandIn(
    """
    import torch
    from timm.data.loader import create_loader

    class Optimizer:
        def step(self):
            pass

    def train_one_epoch(loader, loss_fn, optimizer):
        for inputs, targets in loader:
            loss = loss_fn(inputs.requires_grad_(), targets)
            loss.backward()
            optimizer.step()

    def main():
        saver = "a saver of checkpoints"
        assert saver is None
        train_one_epoch(create_loader(4), torch.nn.MSELoss(), Optimizer())

    main()
    """,
    modules={
        "timm/data/loader.py": """
            import torch

            def create_loader(size):
                return [(torch.ones(size, 2), torch.ones(size, 2)) for _ in range(100)]
        """
    },
)

DINOV2 = StandIn(
    """
    from dinov2.distributed import _is_slurm_job_process
    from dinov2.train.train import build_optimizer, do_train

    def main():
        assert _is_slurm_job_process() is False
        do_train(build_optimizer())

    main()
    """,
    modules={
        "dinov2/distributed/__init__.py": """
            def _is_slurm_job_process():
                return "maybe"
        """,
        "dinov2/data/__init__.py": "",
        "dinov2/data/loaders.py": """
            import torch

            def _parse_dataset_str(text):
                return None, {"root": text}

            def make_data_loader():
                kind, options = _parse_dataset_str("folder")
                assert kind.__name__ == "ImageFolder"
                return [{"collated_global_crops": torch.ones(4, 3)} for _ in range(100)]
        """,
        "dinov2/train/__init__.py": "",
        "dinov2/train/ssl_meta_arch.py": "def reshard_fsdp_model(model):\n    return model\n",
        "dinov2/train/train.py": """
            import dinov2.train.ssl_meta_arch
            from dinov2.data.loaders import make_data_loader

            class SSLMetaArch:
                pass

            def build_optimizer():
                return SSLMetaArch()

            def do_train(optimizer):
                for data in make_data_loader():
                    losses_reduced = float(data["collated_global_crops"].sum())
        """,
    },
)

FNO = StandIn(
    """
    from operator_learning.data import getDataLoaders
    from operator_learning.loss.data_loss import get_loss_fn

    def main():
        train, validation, test = getDataLoaders()
        criterion = get_loss_fn()
        for inputs, targets in train:
            criterion(inputs, targets)

    main()
    """,
    modules={
        "cantilever/core/timer.py": "def show_timings(force=False):\n    print('timings')\n",
        "operator_learning/data.py": """
            import torch

            def getDataLoaders():
                batches = [(torch.ones(4, 2), torch.ones(4, 2)) for _ in range(300)]
                return batches, [], []
        """,
        "operator_learning/loss/data_loss.py": """
            import torch

            def get_loss_fn():
                return torch.nn.MSELoss()
        """,
    },
)

DLRM = StandIn(
    """
    def run():
        for number, inputBatch in enumerate([[1.0] * 4] * 10):
            L = sum(inputBatch) / (number + 1)

    run()
    """,
    rates=0,  # its voirfile gives batches, and asks nothing to make rates of them
)

STAND_INS = {
    "_templates/voir": TEMPLATE,
    "dinov2": DINOV2,
    "dlrm": DLRM,
    "fno_benchmark": FNO,
    "timm": TIMM,
    "torchvision": TORCHVISION,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Return 1 when a voirfile did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("names", nargs="*", help="folders below benchmarks/, by default all with a voirfile")
    parser.add_argument("--python", type=Path, required=True)
    args = parser.parse_args(argv)
    folder = args.checkout / "benchmarks"
    found = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("voirfile.py"))
    names = args.names or [name for name in found if not name.startswith("retired/")]
    missing = [] if args.names else sorted(set(_imported(folder)) - set(_ours()))
    for name in missing:
        print(f"not there: {name}")
    bad = [name for name in names if not _check(folder / name / "voirfile.py", name, args.python)]
    print(
        f"{len(names)} voirfiles, {len(names) - len(bad)} run unchanged" + (f"; not: {', '.join(bad)}" if bad else "")
    )
    return int(bool(bad or missing) or not names)


def _imported(folder: Path) -> Iterator[str]:
    """Yield the names, as module.name, that Python files below a folder import from benchmate."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmate."):
                yield from (f"{node.module}.{each.name}" for each in node.names)


def _ours() -> Iterator[str]:
    """Yield the names that the modules of our benchmate bind, as they stand in their sources."""
    package = Path(benchmate.__file__).parent
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                    yield f"benchmate.{path.stem}.{name}"
                case ast.alias():
                    yield f"benchmate.{path.stem}.{node.asname or node.name}"
                case _:
                    pass


def _check(voirfile: Path, name: str, python: Path) -> bool:
    stand_in = STAND_INS.get(name, GIVES_RATES)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), python)
        for path, text in stand_in.modules.items():
            bench.write(path, text)
            for above in list(Path(path).parents)[:-1]:
                (bench.folder / above / "__init__.py").touch()
        bench.write("main.py", stand_in.main)
        shutil.copy(voirfile, bench.folder / "voirfile.py")
        done = bench.started("main.py", options={"stop": STOP, "skip": SKIP})
    rates = len(done.counts) or len(done.rates())
    well = done.code == 0 and not done.errors and rates == stand_in.rates
    print(f"{name}: {'ok' if well else 'BAD'}, exit code {done.code}, {rates} rates, {_losses(done)} losses")
    for line in [*done.errors, *done.notes]:
        print(f"    {line}")
    if not well:
        print("    " + done.err.strip().replace("\n", "\n    "))
    return well


def _losses(done: Overseen) -> int:
    return sum("loss" in data for data in done.all("data"))


if __name__ == "__main__":
    raise SystemExit(main())
