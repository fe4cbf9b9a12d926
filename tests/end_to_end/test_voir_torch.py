"""Probes beside torch, and the loaders and data that scripts written for milabench ask for by name."""

from __future__ import annotations

import subprocess

import pytest

from harness import Project
from milabench.resources import data_root
from overseen import Bench


@pytest.fixture(scope="module")
def torch_packages(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of packages of an environment that a torch benchmark was installed in."""
    del index
    project = Project(tmp_path_factory.mktemp("torch"))
    project.write(
        "suite.yaml", f"{{include: {data_root() / 'config/base.yaml'}, resnet18: {{inherits: [_torchvision]}}}}"
    )
    done = project.verb("install", timeout_s=800)
    assert done.code == 0, done.err
    (packages,) = (project.base / "venv/torch/lib").glob("python*/site-packages")
    return str(packages)


@pytest.fixture
def torch_bench(torch_packages: str, bench: Bench) -> Bench:
    """Return a folder whose scripts find torch too."""
    bench.also = torch_packages
    return bench


def test_a_probe_within_what_torch_compiles_is_noted(torch_bench: Bench) -> None:
    script = """
        import torch

        def step(x):
            y = torch.sin(x) + 1
            return y * 2

        def batches():
            return [torch.ones(3)] * 20

        def main():
            compiled = torch.compile(step, backend="eager")
            for batch in batches():
                compiled(batch)

        main()
    """
    voirfile = """
        from benchmate.voirfile import measure

        instrument_main = measure("//batches()", loss="//step > x")
    """
    done = torch_bench.run(script, voirfile)
    assert (done.code, done.counts) == (0, [3] * 5)
    assert [note.split(", which")[0] for note in done.notes] == ["step() is probed and compiled by torch"]


def _make_images(bench: Bench) -> None:
    size = ["--batch-size", "4", "--batch-count", "5", "--device-count", "1", "--image-size", "3", "32", "48"]
    argv = [str(bench.python), "-m", "benchmate.datagen", *size, "--val", "0.25", "--test", "0"]
    for _ in range(2):  # what is there already is not made again
        subprocess.run([*argv, "--output", str(bench.folder)], env=bench.environ(None), check=True, timeout=120)


# As much of torchvision as a loader of images from folders asks for: it is in no environment of the suite in small.
TORCHVISION = {
    "torchvision/__init__.py": "",
    "torchvision/datasets.py": """
        from pathlib import Path
        from PIL import Image

        class ImageFolder:
            def __init__(self, root, transform):
                self.files, self.transform = sorted(Path(root).glob("*/*.JPEG")), transform

            def __len__(self):
                return len(self.files)

            def __getitem__(self, index):
                return self.transform(Image.open(self.files[index]).convert("RGB")), int(self.files[index].parent.name)
    """,
    "torchvision/transforms.py": """
        import torch

        def Compose(steps):
            def composed(image):
                for step in steps:
                    image = step(image)
                return image
            return composed

        def RandomResizedCrop(size):
            return lambda image: image.resize((size, size))

        def RandomHorizontalFlip():
            return lambda image: image

        def ToTensor():
            def tensor(image):
                flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
                return flat.reshape(image.height, image.width, 3).permute(2, 0, 1) / 255
            return tensor

        def Normalize(mean, std):
            return lambda image: (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    """,
}


def test_loaders_by_name_give_batches_of_images(torch_bench: Bench) -> None:
    script = """
        import argparse
        import itertools
        import torch
        from benchmate.dataloader import dataloader_arguments, imagenet_dataloader

        parser = argparse.ArgumentParser()
        dataloader_arguments(parser)
        model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 10))
        for loader in ("synthetic_fixed", "synthetic_random", "pytorch_fakedataset", "pytorch"):
            args = parser.parse_args(["--batch-size", "2", "--num-workers", "0", "--data", ".", "--loader", loader])
            batches = [tuple(each) for each in itertools.islice(imagenet_dataloader(args, model), 3)]
            same = torch.equal(batches[0][0], batches[1][0])
            shapes = {tuple(images.shape) for images, _ in batches}
            print(loader, *shapes, tuple(batches[0][1].shape), same)
    """
    _make_images(torch_bench)
    for name, text in TORCHVISION.items():
        torch_bench.write(name, text)
    done = torch_bench.run(script, "def instrument_main(ov):\n    yield ov.phases.init\n")
    assert (done.code, done.errors) == (0, [])
    assert done.out.splitlines() == [
        "synthetic_fixed (2, 3, 224, 224) (2, 10) True",
        "synthetic_random (2, 3, 224, 224) (2, 10) False",
        "pytorch_fakedataset (2, 3, 224, 224) (2,) False",
        "pytorch (2, 3, 224, 224) (2,) False",
    ]


def test_made_up_images_are_those_that_were_asked_for(torch_bench: Bench) -> None:
    _make_images(torch_bench)
    root = torch_bench.folder / "FakeImageNet"
    assert sorted(path.relative_to(root).as_posix() for path in (root / "val").rglob("*.JPEG")) == [
        f"val/{number}/ILSVRC2012_val_{number:08d}.JPEG" for number in range(5)
    ]
    assert len(list((root / "train").rglob("*.JPEG"))) == 20
    assert (root / "train/3/3_3.JPEG").read_bytes()[:2] == b"\xff\xd8"
    assert (root / "labels.txt").read_text().splitlines()[:2] == ["0,0", "1,1"]
