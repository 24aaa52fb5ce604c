"""How one objective's gradient is taken: on the whole batch, in pieces, and by each device on its own share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.core.keys import placed
from jaxgen.core.model import Batch, Objective, Variables
from jaxgen.engine.state import own_params


def objective_gradient(
    objective: Objective, variables: Variables, batch: Batch, key: Any, pieces: int, loops: bool
) -> tuple[Any, dict[str, Any], Variables]:
    """The gradient for the objective's own subtrees, its metrics with the loss, and updates of other collections."""
    params = variables["params"]

    def one(updates: Variables, piece: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        def loss(own: dict[str, Any]) -> tuple[Any, Any]:
            return objective.loss({**variables, **updates, "params": {**params, **own}}, piece, key)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(own_params(params, objective))
        metrics = {name: jnp.asarray(m, jnp.float32) for name, m in {**aux.metrics, "loss": value}.items()}
        return grads, metrics, {**updates, **aux.updates}

    if pieces == 1:
        return one({}, batch, key)
    # Piece j takes examples j, j+pieces, …: so each device keeps its own share of every piece.
    parts = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

    def body(carry: Any, numbered: Any) -> tuple[Any, None]:
        number, piece = numbered
        total, updates = carry
        own = key if objective.separable else jax.random.fold_in(key, number)
        with placed(number, pieces):
            grads, metrics, updates = one(updates, piece, own)
        return (jax.tree.map(jnp.add, total, (grads, metrics)), updates), None

    first = jax.tree.map(lambda x: x[0], parts)
    grads, metrics, updates = jax.eval_shape(one, {}, first, key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (grads, metrics))
    carry = (zeros, {name: variables[name] for name in updates})
    if loops:
        carry, _ = lax.scan(body, carry, (jnp.arange(pieces), parts))
    else:
        for j in range(pieces):
            piece = jax.tree.map(lambda x, j=j: x[j], parts)
            piece, carry = lax.optimization_barrier((piece, carry))  # one piece after another, as in the loop
            carry, _ = body(carry, (jnp.int32(j), piece))
    total, updates = carry
    grads, metrics = jax.tree.map(lambda x: (x / pieces).astype(x.dtype), total)
    return grads, metrics, updates
