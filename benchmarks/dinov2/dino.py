"""What DINOv2 adds to a vision transformer: heads, targets from a slow copy of the student, and three losses.

Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023. K is the number of prototypes; of B
images there are 2 global and n local crops, crop by crop: (2·B, …) and (n·B, …). M patches of the global crops are
hidden from the student.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn import functional
from vit import VisionTransformer, initialise

STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.07
CENTRE_MOMENTUM, SINKHORN_ITERATIONS = 0.9, 3
CENTERINGS = ("sinkhorn_knopp", "centering")


@dataclass(frozen=True)
class HeadSize:
    """The dimensions of a head: what it is fed with, its hidden layers, its narrowest, its prototypes."""

    width: int
    hidden: int
    bottleneck: int
    prototypes: int


class Head(nn.Module):
    """From features to their cosines with K prototypes."""

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size.width, size.hidden),
            nn.GELU(),
            nn.Linear(size.hidden, size.hidden),
            nn.GELU(),
            nn.Linear(size.hidden, size.bottleneck),
        )
        self.prototypes = nn.Linear(size.bottleneck, size.prototypes, bias=False)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = functional.normalize(self.layers(x), dim=-1)
        return functional.linear(features, functional.normalize(self.prototypes.weight, dim=-1))


@dataclass(frozen=True)
class Seen:
    """What a network says: cosines of global (2, B, K) and local (n, B, K) crops and of hidden patches (M, K)."""

    whole: torch.Tensor
    local: torch.Tensor | None
    patches: torch.Tensor
    features: torch.Tensor  # of the global crops, (2, B, width)


class Network(nn.Module):
    """A transformer and its two heads, for images and for hidden patches."""

    def __init__(self, backbone: VisionTransformer, size: HeadSize) -> None:
        super().__init__()
        self.backbone, self.image_head, self.patch_head = backbone, Head(size), Head(size)

    def forward(
        self,
        crops: torch.Tensor,
        hidden: torch.Tensor,
        mask: torch.Tensor | None = None,
        local: torch.Tensor | None = None,
    ) -> Seen:
        """Look at global crops, and at local ones; ``hidden`` (M,) numbers the patches of all global crops.

        Only where there is a ``mask`` are those patches hidden.
        """
        features, patches = self.backbone(crops, mask)
        images = len(features) // 2
        whole = self.image_head(features).unflatten(0, (2, images))
        chosen = self.patch_head(patches.flatten(0, 1).index_select(0, hidden))
        seen = None if local is None else self.image_head(self.backbone(local)[0]).unflatten(0, (-1, images))
        return Seen(whole, seen, chosen, features.unflatten(0, (2, images)))


class Teacher(nn.Module):
    """A copy of the student that follows it slowly, and what it wants the student to say."""

    def __init__(self, student: Network, momentum: float, centering: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self.momentum, self.centering = momentum, centering
        prototypes = student.image_head.prototypes.out_features
        self.register_buffer("image_centre", torch.zeros(prototypes))
        self.register_buffer("patch_centre", torch.zeros(prototypes))

    @torch.no_grad()
    def follow(self, student: Network) -> None:
        own, its = list(self.network.parameters()), list(student.parameters())
        torch._foreach_lerp_(own, its, 1 - self.momentum)

    @torch.no_grad()
    def targets(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distributions wanted of each global crop's image (2, B, K) and of the hidden patches (M, K)."""
        whole = seen.whole.flatten(0, 1).float()
        patches = seen.patches.float()
        if self.centering == "sinkhorn_knopp":
            images, hidden = sinkhorn_knopp(whole), sinkhorn_knopp(patches)
        else:
            images, hidden = centred(whole, self.image_centre), centred(patches, self.patch_centre)
        return images.unflatten(0, (2, -1)), hidden


def summed(x: torch.Tensor) -> torch.Tensor:
    """Sum over all ranks, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(x)
    return x


def ranks() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def sinkhorn_knopp(cosines: torch.Tensor) -> torch.Tensor:
    """Return a distribution for each row that together use all prototypes alike (Caron et al., SwAV, 2020).

    Every rank must have as many rows.
    """
    samples, prototypes = len(cosines) * ranks(), cosines.shape[1]
    q = torch.exp(cosines / TEACHER_TEMPERATURE)
    q /= summed(q.sum())
    for _ in range(SINKHORN_ITERATIONS):
        q /= summed(q.sum(0)) * prototypes
        q /= q.sum(1, keepdim=True) * samples
    return q * samples


def centred(cosines: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Return a distribution for each row, away from the mean of the last steps (Caron et al., DINO, 2021)."""
    wanted = torch.softmax((cosines - centre) / TEACHER_TEMPERATURE, dim=-1)
    centre.lerp_(summed(cosines.mean(0)) / ranks(), 1 - CENTRE_MOMENTUM)
    return wanted


def log_student(cosines: torch.Tensor) -> torch.Tensor:
    return functional.log_softmax(cosines.float() / STUDENT_TEMPERATURE, dim=-1)


def image_loss(wanted: torch.Tensor, seen: Seen) -> torch.Tensor:
    """Return the cross-entropy of the crops with each global crop other than themselves, a mean over all pairs."""
    local = 0 if seen.local is None else len(seen.local)
    total = -(wanted.flip(0) * log_student(seen.whole)).sum(-1).mean(1).sum()
    if seen.local is not None:
        total = total - (wanted.sum(0) * log_student(seen.local).sum(0)).sum(-1).mean()
    return total / (2 + 2 * local)


def patch_loss(wanted: torch.Tensor, seen: Seen, weights: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy at the hidden patches (Zhou et al., iBOT, 2021), every crop with equal weight (M,)."""
    return -((wanted * log_student(seen.patches)).sum(-1) * weights).sum()


def spread_loss(features: torch.Tensor) -> torch.Tensor:
    """Return the KoLeo term of (B, width): features near their nearest neighbour cost (Sablayrolles et al., 2018)."""
    points = functional.normalize(features.float(), dim=-1)
    with torch.no_grad():
        nearest = (points @ points.T).fill_diagonal_(-1).argmax(dim=1)
    distance = functional.pairwise_distance(points, points.index_select(0, nearest), eps=1e-8)
    return -torch.log(distance + 1e-8).mean()
