"""Train a graph network: on one big graph, or on batches of molecules."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable

import torch
from dimenet import DimeNet
from graphs import Graph, Molecules, big_graph, joined, molecule
from layers import Gcn, Pna
from torch import nn

from benchmate.data import Synthetic, grouped, loader
from benchmate.training import PRECISIONS, SEED, Training

MODELS = ("GCN", "PNA", "DimeNet")
FEATURES, CLASSES = 128, 40  # of ogbn-arxiv
DROPOUT = 0.5

Batch = Graph | Molecules
Loss = Callable[[Batch], torch.Tensor]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True, help="GCN: one big graph; the others: molecules")
    parser.add_argument("--hidden-channels", type=int, help="width; 256 for GCN, 64 for the others")
    parser.add_argument("--num-layers", type=int, help="3 for GCN, 64 for PNA, 6 for DimeNet")
    parser.add_argument("--num-nodes", type=int, default=169_343, help="of GCN's graph; as ogbn-arxiv")
    parser.add_argument("--num-edges", type=int, default=1_166_243, help="of GCN's graph, undirected; as ogbn-arxiv")
    parser.add_argument("--num-samples", type=int, default=2048, help="different molecules; as many as a batch fix it")
    parser.add_argument("--batch-size", type=int, default=16, help="molecules in an optimizer step")
    parser.add_argument("--cutoff", type=float, default=10.0, help="ångström within which DimeNet's atoms are a pair")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that join molecules; 0 joins in this one")
    parser.add_argument("--steps-per-observation", type=int, default=1, help="optimizer steps that are timed as one")
    parser.add_argument("--lr", type=float, default=1e-3, help="of Adam, constant")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    args = parser.parse_args()
    if args.model != "GCN" and args.num_samples < args.batch_size:
        parser.error("--num-samples must be at least --batch-size")
    if args.num_nodes < CLASSES:
        parser.error(f"--num-nodes must be at least {CLASSES}, the number of classes")
    return args


def nodes_task(args: argparse.Namespace, device: torch.device) -> tuple[nn.Module, Iterable[Batch], Loss]:
    """Return a network, the one graph (on the device, again and again), and the loss of its nodes' classes."""
    generator = torch.Generator().manual_seed(SEED)
    graph = Graph(*(x.to(device) for x in big_graph(args.num_nodes, args.num_edges, FEATURES, CLASSES, generator)))
    model = Gcn(FEATURES, args.hidden_channels or 256, CLASSES, args.num_layers or 3, DROPOUT).to(device)
    criterion = nn.CrossEntropyLoss()
    return model, itertools.repeat(graph), lambda batch: criterion(model(batch), batch.labels)


def molecules_task(args: argparse.Namespace, device: torch.device) -> tuple[nn.Module, Iterable[Batch], Loss]:
    """Return a network, batches of molecules (on the host, without end), and the loss of their targets."""
    cutoff_a = args.cutoff if args.model == "DimeNet" else None
    length = max(100, args.num_samples // args.batch_size) * args.batch_size
    data = Synthetic(
        lambda generator: molecule(cutoff_a, generator), length=length, distinct=args.num_samples, seed=SEED
    )
    molecules = loader(data, batch_size=args.batch_size, workers=args.num_workers, device=device, collate=joined)
    width, model = args.hidden_channels or 64, nn.Module()
    if args.model == "PNA":
        model = Pna(width, args.num_layers or 64, mean_log_degree(data.samples))
    else:
        model = DimeNet(width, args.num_layers or 6, args.cutoff)
    model = model.to(device)
    criterion = nn.L1Loss()
    batches = itertools.chain.from_iterable(itertools.repeat(molecules))
    return model, batches, lambda batch: criterion(model(batch), batch.targets)


def mean_log_degree(molecules: Iterable[Molecules]) -> float:
    """Return the mean of log(bonds + 1) over all atoms, by which PNA scales."""
    degrees = torch.cat([torch.bincount(one.bonds[1], minlength=len(one.atoms)) for one in molecules])
    return float(torch.log(degrees + 1).mean())


def items(group: list[Batch]) -> int:
    """Return the nodes of an observation's graphs, or its molecules."""
    return sum(len(batch.labels if isinstance(batch, Graph) else batch.targets) for batch in group)


def main() -> None:
    args = options()
    unit = "nodes" if args.model == "GCN" else "graphs"
    training = Training(unit=unit, precision=args.precision, count=items)
    observer = training.observer

    task = nodes_task if args.model == "GCN" else molecules_task
    model, batches, loss_of = task(args, training.device)
    optimizer = observer.optimizer(torch.optim.Adam(model.parameters(), lr=args.lr))

    for group in observer.iterate(grouped(batches, args.steps_per_observation)):  # until the suite's limit
        for batch in group:
            with training.autocast():
                loss = loss_of(training.moved(batch))
            training.update(loss, optimizer)
        observer.record_loss(loss)  # the last of the observation


if __name__ == "__main__":
    main()
