"""Directional message passing (Gasteiger, Groß and Günnemann, 2020): messages live on pairs of atoms and see angles."""

from __future__ import annotations

import math

import torch
from graphs import Molecules
from layers import ELEMENTS, added
from torch import nn
from torch.nn.functional import silu

RADIAL, SPHERICAL, BILINEAR, EXPONENT = 6, 7, 8, 5  # the paper's sizes of the bases and of the envelope
OUTPUT_LAYERS, BEFORE_SKIP, AFTER_SKIP = 3, 1, 2


def envelope(x: torch.Tensor) -> torch.Tensor:
    """Return 1/x of a distance in cutoffs, taken to 0 at 1 with its first two derivatives (the paper's equation 8)."""
    p = EXPONENT + 1
    a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
    return (1 / x + a * x ** (p - 1) + b * x**p + c * x ** (p + 1)) * (x < 1)


class Bases(nn.Module):
    """What a distance is to the model, (pairs, RADIAL), and an angle with it, (triplets, SPHERICAL · RADIAL).

    Radially these are spherical Bessel functions of order 0, which the paper has for distances, also where angles
    come in (the paper takes the angle's own order there); angles are Legendre polynomials of their cosine.
    """

    def __init__(self, cutoff_a: float) -> None:
        super().__init__()
        self.cutoff_a = cutoff_a
        self.frequencies = nn.Parameter(math.pi * torch.arange(1, RADIAL + 1, dtype=torch.float32))

    def forward(self, places: torch.Tensor, pairs: torch.Tensor, triplets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast(places.device.type, enabled=False):  # differences of places want their digits
            sources, targets = pairs
            away = places[targets] - places[sources]
            distances = away.norm(dim=1, keepdim=True)
            x = distances / self.cutoff_a
            radial = envelope(x) * torch.sin(self.frequencies * x)
            arriving, leaving = triplets
            cosines = -(away[arriving] * away[leaving]).sum(1, keepdim=True)
            cosines = cosines / (distances[arriving] * distances[leaving])
            polynomials = [torch.ones_like(cosines), cosines]
            for n in range(2, SPHERICAL):
                polynomials.append(((2 * n - 1) * cosines * polynomials[-1] - (n - 1) * polynomials[-2]) / n)
            angular = torch.cat(polynomials, dim=1)[:, :, None] * radial[arriving][:, None, :]
            return radial, angular.flatten(1)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + silu(self.second(silu(self.first(x))))


class Interaction(nn.Module):
    """New messages from those that arrive at a pair's first atom, weighted by distance and angle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.radial = nn.Linear(RADIAL, width, bias=False)
        self.angular = nn.Linear(SPHERICAL * RADIAL, BILINEAR, bias=False)
        self.own, self.others = nn.Linear(width, width), nn.Linear(width, width)
        self.bilinear = nn.Parameter(torch.randn(width, BILINEAR * width) * 2 / width)
        self.before = nn.Sequential(*(Residual(width) for _ in range(BEFORE_SKIP)), nn.Linear(width, width), nn.SiLU())
        self.after = nn.Sequential(*(Residual(width) for _ in range(AFTER_SKIP)))

    def forward(
        self, x: torch.Tensor, radial: torch.Tensor, angular: torch.Tensor, triplets: torch.Tensor
    ) -> torch.Tensor:
        arriving, leaving = triplets
        others = (silu(self.others(x)) * self.radial(radial))[arriving]
        # Σ over j, l of W[i, j, l] · angular[j] · others[l]: one product of a matrix with all (j, l) of a triplet
        crossed = (self.angular(angular)[:, :, None] * others[:, None, :]).flatten(1)
        received = added(nn.functional.linear(crossed, self.bilinear), leaving, len(x))
        return self.after(self.before(silu(self.own(x)) + received) + x)


class Output(nn.Module):
    """What the messages say of every atom's share of the target."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.radial = nn.Linear(RADIAL, width, bias=False)
        layers = [layer for _ in range(OUTPUT_LAYERS) for layer in (nn.Linear(width, width), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1, bias=False))

    def forward(self, x: torch.Tensor, radial: torch.Tensor, targets: torch.Tensor, atoms: int) -> torch.Tensor:
        return self.layers(added(x * self.radial(radial), targets, atoms))


class DimeNet(nn.Module):
    def __init__(self, width: int, depth: int, cutoff_a: float) -> None:
        super().__init__()
        self.bases = Bases(cutoff_a)
        self.atoms = nn.Embedding(ELEMENTS, width)
        self.radial = nn.Linear(RADIAL, width)
        self.pairs = nn.Linear(3 * width, width)
        self.interactions = nn.ModuleList(Interaction(width) for _ in range(depth))
        self.outputs = nn.ModuleList(Output(width) for _ in range(depth + 1))

    def forward(self, batch: Molecules) -> torch.Tensor:
        """Return (molecules,)."""
        radial, angular = self.bases(batch.places, batch.pairs, batch.triplets)
        sources, targets = batch.pairs
        atoms = self.atoms(batch.atoms)
        x = silu(self.pairs(torch.cat((atoms[targets], atoms[sources], silu(self.radial(radial))), dim=1)))
        shares = self.outputs[0](x, radial, targets, len(atoms))
        for interaction, output in zip(self.interactions, list(self.outputs)[1:], strict=True):
            x = interaction(x, radial, angular, batch.triplets)
            shares = shares + output(x, radial, targets, len(atoms))
        return added(shares, batch.members, len(batch.targets)).squeeze(1)
