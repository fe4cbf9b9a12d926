"""Proximal policy optimisation on CartPole, environments and learning both on the device."""

from __future__ import annotations

import argparse

import jax
from agent import learner

from benchmate.context import current
from benchmate.device import DeviceError
from benchmate.observe import Observer

PLATFORMS = {"cpu": "cpu", "cuda": "cuda", "rocm": "rocm"}  # what JAX calls milabench's architectures


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_envs", type=int, default=2048, help="environments side by side")
    parser.add_argument("--num_steps", type=int, default=128, help="steps of each environment between two updates")
    parser.add_argument(
        "--total_timesteps", type=int, default=1_000_000_000, help="at most; the suite's limit comes first"
    )
    parser.add_argument("--num_minibatches", type=int, default=32, help="optimizer steps in one pass over a rollout")
    parser.add_argument("--update_epochs", type=int, default=4, help="passes over a rollout")
    parser.add_argument("--hidden_size", type=int, default=64, help="width of the two hidden layers of each network")
    parser.add_argument("--lr", type=float, default=3e-4, help="of Adam, constant")
    parser.add_argument("--gamma", type=float, default=0.99, help="discount of later rewards")
    parser.add_argument("--gae_lambda", type=float, default=0.95, help="of the advantage estimate")
    parser.add_argument("--clip_eps", type=float, default=0.2, help="how far an update may move the policy and value")
    parser.add_argument("--ent_coef", type=float, default=0.0, help="weight of the entropy bonus")
    parser.add_argument("--vf_coef", type=float, default=0.5, help="weight of the value's error")
    parser.add_argument("--max_grad_norm", type=float, default=0.5, help="gradients longer than this are shortened")
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    if args.num_envs * args.num_steps % args.num_minibatches:
        parser.error("--num_envs times --num_steps must be a multiple of --num_minibatches")
    return args


def choose(arch: str | None) -> None:
    """Let JAX use the devices milabench measures on, and no others. Raises DeviceError where it sees none."""
    if arch is None:  # run by hand: JAX takes the best it finds
        return
    jax.config.update("jax_platforms", PLATFORMS.get(arch, arch))
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # older ones assert
        raise DeviceError(f"no {arch} device is visible to JAX {jax.__version__}") from error


def main() -> None:
    args = options()
    context = current()
    per_update = args.num_envs * args.num_steps
    observer = Observer(unit="env steps", count=lambda _: per_update, context=context)
    choose(context.arch)
    agent, update = learner(args)

    returns: list[jax.Array] = []
    try:
        for _ in observer.iterate(range(args.total_timesteps // per_update)):  # the first one compiles
            agent, metrics = update(agent)
            observer.record_loss(metrics.loss)
            returns.append(metrics.episode_return)
            jax.block_until_ready(agent)  # the stamp that follows is the host's
    finally:  # the suite's limit ends the program within the loop
        if returns:
            print(f"mean return of an episode: {returns[0]:.1f} in the first update, {returns[-1]:.1f} in the last")


if __name__ == "__main__":
    main()
