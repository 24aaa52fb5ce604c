"""What XLA makes of programs on a CPU: convolutions inside loops, where they are up to 57× slower, are found, for the
smoke runs of all recipes to have none; and no step of a recurrence copies a whole map."""

import re

import jax
import jax.numpy as jnp
import pytest
from helpers.hlo import convolutions, copies, in_loops

from jaxgen.nn.lstm import lstm_scan
from jaxgen.nn.masked import dense


def test_the_search_finds_a_convolution_in_a_loop():
    kernel = jnp.ones((3, 3, 4, 4))

    def convolve(x, _):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")), None

    program = jax.jit(lambda x: jax.lax.scan(convolve, x, None, length=3)[0])
    assert convolutions(program.lower(jnp.ones((2, 8, 8, 4))).compile())
    alone = jax.jit(lambda x: convolve(x, None)[0])
    assert not convolutions(alone.lower(jnp.ones((2, 8, 8, 4))).compile())


def test_the_search_finds_a_copy_in_a_loop():
    def read_and_replace(lines, t):
        line = jax.lax.dynamic_index_in_dim(lines, t, keepdims=False)
        lines = lines.at[0].set(line)
        return lines.at[1].set(line * lines[2] + jax.lax.rev(lines, (0, 1)).sum()), line

    program = jax.jit(lambda x: jax.lax.scan(read_and_replace, x, jnp.arange(5)))
    assert copies(program.lower(jnp.ones((5, 3))).compile(), r"f32\[5,3\]")


@pytest.mark.parametrize("features", [8, 32])
def test_a_recurrence_overwrites_its_lines_in_place(features):
    """What the compiler fuses depends on sizes: were one reader of the old line left, each step would copy the map."""
    t, n, gates = 19, 7, 4 * features
    x = jnp.ones((t, 1, n, gates))
    bias, w = jnp.ones((2, gates)), jnp.ones((2, 2 * features, gates))
    start, reset = jnp.ones((2, features)), jnp.zeros((t, n))

    def loss(x, *rest):
        return sum((h**2).sum() for h in lstm_scan((x, 2 * x), *rest, reset, (-1, 0), True))

    program = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4))).lower(x, bias, w, start, start).compile()
    assert in_loops(program.as_text())
    assert re.search(rf"= f32\[{t},{n},{gates}\]", program.as_text())
    assert not copies(program, rf"f32\[{t}(,1)?,{n},{gates}\]")


@pytest.mark.parametrize("features", [8, 32])
def test_a_recurrence_between_products_copies_no_map(features):
    """Its lines come from a product and their gradients go to two, which read one and the same buffer."""
    t, n, gates = 19, 7, 4 * features
    x, kernel = jnp.ones((t, 1, n, features)), jnp.ones((features, gates))
    bias, w = jnp.ones((2, gates)), jnp.ones((2, 2 * features, gates))
    start, reset = jnp.ones((2, features)), jnp.zeros((t, n))

    def loss(x, kernel, *rest):
        lines = dense(x, kernel), dense(x, 2 * kernel)
        return sum((h**2).sum() for h in lstm_scan(lines, *rest, reset, (-1, 0), True))

    program = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4, 5))).lower(x, kernel, bias, w, start, start).compile()
    maps = rf"= f32\[({t}(,1)?,{n}|{t * n}),{gates}\]\S* copy\("
    assert not re.findall(maps, program.as_text())
