"""Codes and reconstructions belong to their images: batch mates are of no account."""

import jax.numpy as jnp
import numpy as np
from contract.zoo import BATCH, ROWS, batch_of, compiled, rows, same, variables_of

from jaxgen.core.capabilities import Encoder, Reconstructor


@rows(Encoder)
def test_codes_belong_to_their_images(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    code = compiled(model, "encode")(variables_of(model), image)
    assert code.ndim == 2
    assert code.shape[0] == BATCH
    assert code.dtype == jnp.float32
    assert jnp.isfinite(code).all()
    np.testing.assert_allclose(compiled(model, "encode")(variables_of(model), image[::-1])[::-1], code, atol=1e-5)
    assert len(np.unique(np.asarray(code), axis=0)) == BATCH


@rows(Reconstructor)
def test_reconstructions_belong_to_their_images(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    back = compiled(model, "reconstruct")(variables_of(model), image)
    assert back.shape == image.shape
    assert back.dtype == jnp.uint8
    assert int(back.max()) < model.levels
    assert same(compiled(model, "reconstruct")(variables_of(model), image[::-1])[::-1], back)
