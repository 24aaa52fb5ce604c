"""Completions keep what is given and look at nothing else."""

import jax
import jax.numpy as jnp
from contract.zoo import KEY, OTHER, ROWS, batch_of, compiled, rows, same, variables_of

from jaxgen.core.capabilities import Completer


@rows(Completer)
def test_completion_keeps_what_is_given(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    complete = compiled(model, "complete")
    given = jax.random.bernoulli(KEY, 0.5, model.shape[:2])
    full, other = (complete(variables_of(model), key, image, given) for key in (KEY, OTHER))
    assert full.shape == image.shape
    assert full.dtype == jnp.uint8
    assert int(full.max()) < model.levels
    assert same(full[:, given], image[:, given])
    assert same(full, complete(variables_of(model), KEY, image, given))
    assert not same(full, other)
    assert same(complete(variables_of(model), KEY, image, jnp.ones_like(given)), image)
    hidden = jnp.where(given[:, :, None], image, model.levels - 1 - image)
    assert same(full, complete(variables_of(model), KEY, hidden, given)), "what is not given must not be looked at"
