"""Synthetic graphs: one big one with classes to find, and molecules with an energy to predict."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch

# Heavy atoms of a molecule: those of PCQM4Mv2, with a mean of 14, have about these numbers and this distance.
FEWEST, MOST = 8, 20
BOND_A, JITTER_A = 1.5, 0.1  # atoms sit near the points of a cubic lattice, a bond apart
DIRECTIONS = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
RING = 0.2  # how likely two atoms side by side that are not bonded yet become so
ELEMENTS = 10
MEAN, DEVIATION = 1.1, 0.2  # of the targets before they are standardised

SAME_CLASS = 0.7  # of the big graph's edges, lead to a node of the same class
SKEW = 2.0  # above 1: few nodes have many edges


class Graph(NamedTuple):
    """A big graph: ``edges`` is (2, edges) with (source, target), ``weights`` what a message over each is scaled by."""

    features: torch.Tensor
    edges: torch.Tensor
    weights: torch.Tensor
    labels: torch.Tensor


class Molecules(NamedTuple):
    """Molecules joined to one graph of nodes; also one of them, before it is joined with others.

    ``bonds`` is (2, bonds), both directions of each. ``pairs`` is (2, pairs): atoms within the cutoff. ``triplets`` is
    (2, triplets): pairs (k→j, j→i) that meet in an atom, as positions in ``pairs``. ``members`` says whose an atom is.
    """

    atoms: torch.Tensor
    places: torch.Tensor
    bonds: torch.Tensor
    pairs: torch.Tensor
    triplets: torch.Tensor
    members: torch.Tensor
    targets: torch.Tensor


def big_graph(nodes: int, edges: int, features: int, classes: int, generator: torch.Generator) -> Graph:
    """Return a graph of ``edges`` undirected edges, each there in both directions, and a loop at every node.

    A node's features are those of its class in strong noise; weights are those of Kipf and Welling's normalisation,
    1/sqrt(degree of source · degree of target).
    """

    def uniform(count: int) -> torch.Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64)

    labels = (torch.arange(nodes) * classes) // nodes  # the nodes of a class lie side by side: easy to draw from
    sources = (nodes * uniform(edges) ** SKEW).long().clamp(max=nodes - 1)
    sources = torch.randperm(nodes, generator=generator)[sources]
    first = (labels[sources] * nodes + classes - 1) // classes
    size = ((labels[sources] + 1) * nodes + classes - 1) // classes - first
    within = first + (size * uniform(edges)).long()
    anywhere = (nodes * uniform(edges)).long()
    targets = torch.where(uniform(edges) < SAME_CLASS, within, anywhere)
    order = torch.randperm(nodes, generator=generator)  # and then the numbers are dealt anew
    loops = torch.arange(nodes).expand(2, -1)
    pairs = torch.cat((order[torch.stack((sources, targets))], order[torch.stack((targets, sources))], loops), dim=1)
    shuffled = torch.empty_like(labels)
    shuffled[order] = labels
    centres = torch.randn(classes, features, generator=generator)
    noisy = 0.3 * centres[shuffled] + torch.randn(nodes, features, generator=generator)
    degrees = torch.bincount(pairs[1], minlength=nodes).float()
    weights = (degrees[pairs[0]] * degrees[pairs[1]]).rsqrt()
    return Graph(noisy, pairs, weights, shuffled)


def molecule(cutoff_a: float | None, generator: torch.Generator) -> Molecules:
    """Return one molecule. Its target is a mean over its atoms, by element and number of bonds, standardised.

    Pairs and triplets are for models of geometry: None as a cutoff makes none.
    """
    count = int(torch.randint(FEWEST, MOST + 1, (), generator=generator))
    sites, bonds = _grown(count, random.Random(int(torch.randint(2**31, (), generator=generator))))
    places = BOND_A * torch.tensor(sites, dtype=torch.float32) + JITTER_A * torch.randn(count, 3, generator=generator)
    once = torch.tensor(bonds).t()
    both = torch.cat((once, once.flip(0)), dim=1)
    atoms = torch.randint(ELEMENTS, (count,), generator=generator)
    valence = torch.bincount(both[1], minlength=count)
    energy = (torch.sin(1.0 + atoms) + 0.5 * valence).mean()
    pairs, triplets = _geometry(places, cutoff_a) if cutoff_a is not None else (both.new_empty(2, 0),) * 2
    target = ((energy - MEAN) / DEVIATION).view(1)
    return Molecules(atoms, places, both, pairs, triplets, torch.zeros_like(atoms), target)


def _grown(count: int, dice: random.Random) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """Return points of the lattice, grown onto each other at random, and their bonds, each once."""
    sites: list[tuple[int, ...]] = [(0, 0, 0)]
    bonds: list[tuple[int, int]] = []
    while len(sites) < count:
        parent = dice.randrange(max(0, len(sites) - 4), len(sites))  # of the last few: a chain with branches
        site = _beside(sites[parent], dice.choice(DIRECTIONS))
        if site in sites:
            parent = dice.randrange(len(sites))  # the last few may be shut in
            site = _beside(sites[parent], dice.choice(DIRECTIONS))
        if site in sites:
            continue
        near = [sites.index(other) for other in (_beside(site, way) for way in DIRECTIONS) if other in sites]
        bonds += [(other, len(sites)) for other in near if other == parent or dice.random() < RING]
        sites.append(site)
    return sites, bonds


def _beside(site: tuple[int, ...], way: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(site, way, strict=True))


def _geometry(places: torch.Tensor, cutoff_a: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pairs of atoms within the cutoff, and which of them follow each other without going back."""
    near = (torch.cdist(places, places) < cutoff_a).fill_diagonal_(False)
    pairs = near.nonzero().t()
    sources, targets = pairs
    follows = (targets[:, None] == sources[None, :]) & (sources[:, None] != targets[None, :])
    return pairs, follows.nonzero().t()


def joined(molecules: Sequence[Molecules]) -> Molecules:
    """Return a batch: everything that counts atoms or pairs moved behind that of the molecules before."""
    parts: list[Molecules] = []
    atoms = pairs = 0
    for number, one in enumerate(molecules):
        moved = one._replace(
            bonds=one.bonds + atoms,
            pairs=one.pairs + atoms,
            triplets=one.triplets + pairs,
            members=one.members + number,
        )
        parts.append(moved)
        atoms += len(one.atoms)
        pairs += one.pairs.shape[1]
    columns = zip(*parts, strict=True)  # whole numbers lie along the last dimension, the others along the first
    return Molecules(*(torch.cat(column, dim=-1 if column[0].dtype == torch.long else 0) for column in columns))
