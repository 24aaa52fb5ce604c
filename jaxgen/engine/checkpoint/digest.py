"""Digests of a state, made where its arrays lie: 32 bits a leaf, by which one that is not what was saved shows.

An array is read as unsigned words w_i, i counting in C order (64 bits are two words, a bool is a byte, a typed key is
its data), and its digest is Σ w_i · (2 hash(i) + 1) mod 2³². An odd factor has an inverse, so that a change of any one
word always shows; several changes cancel about once in 2³² times. Sums know no order, so that the digest does not
depend on how the array is laid out over devices. It finds accidents, not forgeries.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

WORDS = {1: jnp.uint8, 2: jnp.uint16}
"""The word for items of so many bytes; longer ones are read as words of 32 bits."""


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, attributes, keys and positions alike, as Orbax stores them."""

    def name(entry: Any) -> str:
        for attribute in ("name", "key", "idx"):
            if hasattr(entry, attribute):
                return str(getattr(entry, attribute))
        return str(entry)

    return {"/".join(map(name, path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def digests(tree: Any) -> dict[str, int]:
    """The digest of every leaf, by its path. Waits for the arrays.

    A program serves all leaves of one shape and type: a state has many leaves of few shapes. What every device holds
    whole is read on one of them, in each process for itself; of other arrays each device reads its part.
    """
    digests: dict[str, Any] = {}
    for name, leaf in leaves_by_name(tree).items():
        if getattr(leaf, "is_fully_replicated", True):
            digests[name] = _alone(leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf)
        else:
            # These sum over devices: on a CPU the next may not start before this one has ended.
            digests[name] = np.asarray(_together(leaf.sharding.mesh)(leaf))
    return {name: int(value) for name, value in jax.device_get(digests).items()}


def _digest(x: Any) -> Any:
    """The digest of one array, uint32[]."""
    words = _words(x)
    index, stride = jnp.zeros(words.shape, jnp.uint32), 1
    for axis in reversed(range(words.ndim)):
        index += lax.broadcasted_iota(jnp.uint32, words.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= words.shape[axis]
    return jnp.sum(words.astype(jnp.uint32) * (_hash(index) << 1 | 1), dtype=jnp.uint32)


def _words(x: Any) -> Any:
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint8)
    return lax.bitcast_convert_type(x, WORDS.get(x.dtype.itemsize, jnp.uint32))


def _hash(x: Any) -> Any:
    """Scatters 32-bit numbers, one to one (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


_alone = jax.jit(_digest)


@functools.cache
def _together(mesh: Mesh) -> Any:
    """The digest of an array that the devices of a mesh share, known to all of them."""
    return jax.jit(_digest, out_shardings=NamedSharding(mesh, PartitionSpec()))
