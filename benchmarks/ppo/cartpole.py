"""Pole balancing (Barto, Sutton and Anderson, Neuronlike adaptive elements, 1983): the classic-control equations.

Many environments at once: every field of a State has one number for each of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

GRAVITY = 9.8  # m/s²
CART_KG, POLE_KG = 1.0, 0.1
HALF_POLE_M = 0.5
FORCE_N = 10.0
TICK_S = 0.02
FARTHEST_M, STEEPEST = 2.4, math.radians(12)  # beyond these an episode is lost
LONGEST = 500  # steps in an episode
START = 0.05  # a fresh state is uniform within this on either side of 0

OBSERVATIONS, ACTIONS = 4, 2


class State(NamedTuple):
    """Position (m), speed, angle (rad), its speed: float32; steps of the episode so far: int32. All (environments,)."""

    x: jax.Array
    v: jax.Array
    angle: jax.Array
    spin: jax.Array
    age: jax.Array


def observe(state: State) -> jax.Array:
    """Return what an agent sees, (environments, OBSERVATIONS)."""
    return jnp.stack(state[:OBSERVATIONS], axis=-1)


def reset(key: jax.Array, environments: int) -> State:
    fresh = jax.random.uniform(key, (OBSERVATIONS, environments), minval=-START, maxval=START)
    return State(*fresh, age=jnp.zeros(environments, jnp.int32))


def step(key: jax.Array, state: State, action: jax.Array) -> tuple[State, jax.Array]:
    """Push the carts left (0) or right (1) for a tick; return the next states and which episodes ended with it.

    The reward of every step is 1, so an episode's return is its length. What ended starts afresh.
    """
    force = jnp.where(action == 1, FORCE_N, -FORCE_N)
    sin, cos, mass = jnp.sin(state.angle), jnp.cos(state.angle), CART_KG + POLE_KG
    pushed = (force + POLE_KG * HALF_POLE_M * state.spin**2 * sin) / mass
    turn = (GRAVITY * sin - cos * pushed) / (HALF_POLE_M * (4 / 3 - POLE_KG * cos**2 / mass))
    speed_up = pushed - POLE_KG * HALF_POLE_M * turn * cos / mass
    moved = State(
        x=state.x + TICK_S * state.v,
        v=state.v + TICK_S * speed_up,
        angle=state.angle + TICK_S * state.spin,
        spin=state.spin + TICK_S * turn,
        age=state.age + 1,
    )
    lost = (jnp.abs(moved.x) > FARTHEST_M) | (jnp.abs(moved.angle) > STEEPEST)
    done = lost | (moved.age >= LONGEST)
    fresh = reset(key, len(done))
    return State(*(jnp.where(done, new, old) for new, old in zip(fresh, moved, strict=True))), done
