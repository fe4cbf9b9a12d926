"""Proximal policy optimisation (Schulman et al., 2017) in JAX: one jitted update holds the environments, too."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cartpole
import jax
import jax.numpy as jnp
import optax

ADAM_EPSILON = 1e-5
SMALLEST_DEVIATION = 1e-8  # of the advantages in a minibatch

Layers = list[tuple[jax.Array, jax.Array]]  # weight (inputs, outputs) and bias (outputs,)


class Agent(NamedTuple):
    """Everything an update starts from and leaves behind."""

    parameters: dict[str, Layers]
    optimizer: Any
    state: cartpole.State
    key: jax.Array


class Steps(NamedTuple):
    """What was seen and done; (steps, environments) in a rollout, (minibatch,) while learning."""

    seen: jax.Array
    action: jax.Array
    log_probability: jax.Array
    value: jax.Array
    done: jax.Array
    age: jax.Array  # steps of the episode, this one included


class Metrics(NamedTuple):
    """Of one update: the last minibatch's loss, and the mean return of the episodes that ended (nan for none)."""

    loss: jax.Array
    episode_return: jax.Array


def network(key: jax.Array, outputs: int, width: int, last_gain: float) -> Layers:
    """Return two hidden layers and a linear one, orthogonal as usual for this method; biases are 0."""
    sizes = (cartpole.OBSERVATIONS, width, width, outputs)
    gains = (math.sqrt(2), math.sqrt(2), last_gain)
    return [
        (jax.nn.initializers.orthogonal(gain)(one, (rows, columns)), jnp.zeros(columns))
        for one, rows, columns, gain in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], gains, strict=True)
    ]


def apply(layers: Layers, x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def act(parameters: dict[str, Layers], seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the logarithm of each action's probability, (…, actions), and the value of what is seen, (…,)."""
    return jax.nn.log_softmax(apply(parameters["actor"], seen)), apply(parameters["critic"], seen)[..., 0]


def chosen(log_probabilities: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.take_along_axis(log_probabilities, action[..., None], axis=-1)[..., 0]


def rollout(agent: Agent, steps: int) -> tuple[Agent, Steps]:
    """Let the policy act for ``steps`` steps in every environment."""

    def one(carry: tuple[cartpole.State, jax.Array], _: None) -> tuple[tuple[cartpole.State, jax.Array], Steps]:
        state, key = carry
        key, for_action, for_reset = jax.random.split(key, 3)
        seen = cartpole.observe(state)
        log_probabilities, value = act(agent.parameters, seen)
        action = jax.random.categorical(for_action, log_probabilities)
        after, done = cartpole.step(for_reset, state, action)
        taken = Steps(seen, action, chosen(log_probabilities, action), value, done, state.age + 1)
        return (after, key), taken

    (state, key), taken = jax.lax.scan(one, (agent.state, agent.key), None, steps)
    return agent._replace(state=state, key=key), taken


def advantages(steps: Steps, last_value: jax.Array, gamma: float, gae_lambda: float) -> jax.Array:
    """Return generalised advantage estimates (Schulman et al., 2016), (steps, environments); every reward is 1."""

    def one(carry: tuple[jax.Array, jax.Array], step: Steps) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        advantage, next_value = carry
        goes_on = 1.0 - step.done
        surprise = 1.0 + gamma * next_value * goes_on - step.value
        advantage = surprise + gamma * gae_lambda * goes_on * advantage
        return (advantage, step.value), advantage

    return jax.lax.scan(one, (jnp.zeros_like(last_value), last_value), steps, reverse=True)[1]


def loss_of(
    parameters: dict[str, Layers], batch: tuple[Steps, jax.Array, jax.Array], args: argparse.Namespace
) -> jax.Array:
    """Return the clipped objective, the value's error and the entropy bonus of a minibatch, added up."""
    steps, advantage, target = batch
    log_probabilities, value = act(parameters, steps.seen)
    ratio = jnp.exp(chosen(log_probabilities, steps.action) - steps.log_probability)
    advantage = (advantage - advantage.mean()) / (advantage.std() + SMALLEST_DEVIATION)
    bounded = jnp.clip(ratio, 1 - args.clip_eps, 1 + args.clip_eps)
    gain = jnp.minimum(ratio * advantage, bounded * advantage).mean()
    near = steps.value + jnp.clip(value - steps.value, -args.clip_eps, args.clip_eps)
    error = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
    entropy = -(jnp.exp(log_probabilities) * log_probabilities).sum(-1).mean()
    return -gain + args.vf_coef * error - args.ent_coef * entropy


def learner(args: argparse.Namespace) -> tuple[Agent, Callable[[Agent], tuple[Agent, Metrics]]]:
    """Return a fresh agent and the jitted function that takes it one update further (and gives its memory back)."""
    adam = optax.adam(args.lr, eps=ADAM_EPSILON)
    optimizer = optax.chain(optax.clip_by_global_norm(args.max_grad_norm), adam)
    gradient = jax.value_and_grad(partial(loss_of, args=args))
    total = args.num_envs * args.num_steps

    def minibatch(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        parameters, state = carry
        loss, gradients = gradient(parameters, batch)
        changes, state = optimizer.update(gradients, state, parameters)
        return (optax.apply_updates(parameters, changes), state), loss

    @partial(jax.jit, donate_argnums=0)
    def update(agent: Agent) -> tuple[Agent, Metrics]:
        agent, steps = rollout(agent, args.num_steps)
        last_value = act(agent.parameters, cartpole.observe(agent.state))[1]
        advantage = advantages(steps, last_value, args.gamma, args.gae_lambda)
        data = (steps, advantage, advantage + steps.value)
        flat = jax.tree.map(lambda x: x.reshape(total, *x.shape[2:]), data)

        def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
            order = jax.random.permutation(key, total).reshape(args.num_minibatches, -1)
            return jax.lax.scan(
                lambda carry, rows: minibatch(carry, jax.tree.map(lambda x: x[rows], flat)), carry, order
            )

        key, *epochs = jax.random.split(agent.key, 1 + args.update_epochs)
        trained, losses = jax.lax.scan(epoch, (agent.parameters, agent.optimizer), jnp.stack(epochs))
        ended = jnp.where(steps.done, steps.age, 0).sum() / steps.done.sum()
        return Agent(*trained, state=agent.state, key=key), Metrics(losses[-1, -1], ended)

    key, for_actor, for_critic, for_state = jax.random.split(jax.random.key(args.seed), 4)
    parameters = {
        "actor": network(for_actor, cartpole.ACTIONS, args.hidden_size, 0.01),
        "critic": network(for_critic, 1, args.hidden_size, 1.0),
    }
    return Agent(parameters, optimizer.init(parameters), cartpole.reset(for_state, args.num_envs), key), update
