"""Train the network of a latent diffusion model to predict the noise in an image's latents, given a text."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel

from benchmate.data import Synthetic, loader
from benchmate.training import PRECISIONS, SEED, Training

LATENT_CHANNELS, PIXELS_PER_LATENT = 4, 8  # of the autoencoder whose latents these are
TEXT_TOKENS = 77  # of the text encoder's window
EPOCH_STEPS = 100
DISTINCT = 64  # samples that differ
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.999), 1e-2, 1.0  # those Stable Diffusion is commonly fine-tuned with
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}

# What differs from diffusers' defaults, which are Stable Diffusion 1's but for the width of the text states.
MODELS: dict[str, dict[str, Any]] = {
    "stable-diffusion-1": {"cross_attention_dim": 768},  # 859.5 million parameters
    "stable-diffusion-2": {  # 865.9 million
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "small": {  # 0.8 million
        "cross_attention_dim": 64,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
}

Sample = dict[str, torch.Tensor]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="stable-diffusion-1", help="size of the network")
    parser.add_argument("--resolution", type=int, default=512, help="pixels of an image's side; of its latents, 1/8")
    parser.add_argument("--batch-size", type=int, default=16, help="images of a step, on every rank")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="fp16 runs as bf16 on a CPU")
    parser.add_argument("--num-workers", type=int, default=4, help="processes that load latents; 0 loads in this one")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of AdamW, constant")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="compute activations again: less memory")
    parser.add_argument("--fixed-batch", action="store_true", help="one batch for all steps: no loading at all")
    return parser.parse_args()


def data(args: argparse.Namespace, training: Training) -> Any:
    """Return batches of ``latents``, of about unit variance as an autoencoder's are scaled, and of ``text`` states.

    Their shapes are (batch, 4, resolution / 8, resolution / 8) and (batch, 77, width of a text state).
    """
    side, width = args.resolution // PIXELS_PER_LATENT, MODELS[args.model]["cross_attention_dim"]

    def sample(generator: torch.Generator) -> Sample:
        return {
            "latents": torch.randn(LATENT_CHANNELS, side, side, generator=generator),
            "text": torch.randn(TEXT_TOKENS, width, generator=generator),
        }

    length, seed = EPOCH_STEPS * args.batch_size, DISTINCT * training.context.rank
    dataset = Synthetic(sample, length=length, distinct=DISTINCT, seed=seed)
    workers = 0 if args.fixed_batch else args.num_workers
    batches = loader(dataset, batch_size=args.batch_size, workers=workers, device=training.device)
    return [training.moved(next(iter(batches)))] * EPOCH_STEPS if args.fixed_batch else batches


class Denoising(nn.Module):
    """The loss of noise prediction (Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 1)."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet, self.schedule = unet, DDPMScheduler(**NOISE)

    def forward(self, latents: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(latents)
        times = torch.randint(NOISE["num_train_timesteps"], (len(latents),), device=latents.device)
        noisy = self.schedule.add_noise(latents, noise, times)
        predicted = self.unet(noisy, times, text, return_dict=False)[0]
        return mse_loss(predicted.float(), noise)


def network(args: argparse.Namespace) -> UNet2DConditionModel:
    """Return a network with random weights."""
    unet = UNet2DConditionModel(sample_size=args.resolution // PIXELS_PER_LATENT, **MODELS[args.model])
    if args.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet.train()


def main() -> None:
    args = options()
    training = Training(unit="images", precision=args.precision)
    observer, context = training.observer, training.context

    with training.group():
        unet = network(args).to(training.device)
        model: nn.Module = Denoising(unet)
        if context.world_size > 1:
            model = DistributedDataParallel(model, gradient_as_bucket_view=True)
        optimizer = torch.optim.AdamW(unet.parameters(), lr=args.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY)
        observer.optimizer(optimizer)
        torch.manual_seed(SEED + context.rank)  # weights are the same on all ranks, noise is not
        batches = data(args, training)

        while True:  # until the suite's limit
            for batch in observer.iterate(batches):
                moved = training.moved(batch)
                with training.autocast():
                    loss = model(moved["latents"], moved["text"])
                observer.record_loss(loss)
                training.update(loss, optimizer, clip=CLIP)


if __name__ == "__main__":
    main()
