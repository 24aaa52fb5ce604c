"""GRUs: the recurrence of the paper word by word, masks that are exact, and the backward pass that is written out."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.nn.gru import GRU, SentenceEncoder, gru_scan, orthogonal_gates

T, B, D = 4, 3, 4
LENGTHS = np.array([4, 2, 1])
DRAW = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(DRAW.standard_normal(shape), jnp.float32)


def drawn(net, *inputs):
    """Variables of a net, by NumPy: what makes them is long to compile."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda leaf: 0.5 * normal(*leaf.shape), shapes)


def recurrence(x, mask, u, h):
    """The equations at the top of the module, word by word, by their own derivatives."""
    states = []
    for x_t, mask_t in zip(x, mask):
        r, z = (jax.nn.sigmoid(x_t[:, part] + h @ u[:, part]) for part in (np.s_[:D], np.s_[D : 2 * D]))
        g = jnp.tanh(x_t[:, 2 * D :] + (r * h) @ u[:, 2 * D :])
        h = jnp.where(mask_t[:, None], (1 - z) * h + z * g, h)
        states.append(h)
    return jnp.stack(states)


def test_states_and_gradients_are_those_of_the_equations():
    arrays, dhs = (normal(T, B, 3 * D), normal(D, 3 * D), normal(B, D)), normal(T, B, D)
    mask = jnp.arange(T)[:, None] < LENGTHS

    def pulled(scan):
        def both(x, u, h0):
            states, pull = jax.vjp(lambda x, u, h0: scan(x, mask, u, h0), x, u, h0)
            return states, *pull(dhs)

        return jax.jit(both)(*arrays)

    for ours, wanted in zip(pulled(gru_scan), pulled(recurrence)):
        np.testing.assert_allclose(ours, wanted, atol=5e-6)


def test_the_vector_of_a_sentence_does_not_mind_what_fills_up_behind_it():
    net, apply = SentenceEncoder(6, 3, 2 * D, two_way=True), jax.jit(SentenceEncoder(6, 3, 2 * D, two_way=True).apply)
    words = jnp.asarray([[3, 5, 2, 1], [4, 1, 0, 0]])
    variables = drawn(net, words)
    vectors = apply(variables, words)
    filled = variables["params"]["embedding"].at[0].set(1e6)
    other = apply({"params": {**variables["params"], "embedding": filled}}, words)
    np.testing.assert_array_equal(vectors, other)
    np.testing.assert_allclose(apply(variables, words[1:, :2])[0], vectors[1], atol=1e-6)
    # The second half is that of a net which reads the words the other way round.
    x, own = variables["params"]["embedding"][words[:1, ::-1]], {"params": variables["params"]["backwards"]}
    np.testing.assert_allclose(GRU(D).apply(own, x, jnp.ones((1, T), bool))[0, -1], vectors[0, D:], atol=1e-6)


def test_word_by_word_is_the_whole_sentence_and_a_condition_enters_every_gate():
    x, mask, condition, net = normal(2, T, 3), jnp.ones((2, T), bool), normal(2, 2), GRU(D)
    variables, apply = drawn(net, x, mask, condition), jax.jit(net.apply)
    states, h = apply(variables, x, mask, condition), jnp.zeros((2, D))
    for t in range(T):
        h = apply(variables, x[:, t : t + 1], mask[:, :1], condition, h)[:, 0]
        np.testing.assert_allclose(h, states[:, t], atol=1e-6)
    # The condition's map is that of words which are the same everywhere.
    words, own = variables["params"]["words"], variables["params"]["condition"]
    wide = {"kernel": np.concatenate([words["kernel"], own["kernel"]]), "bias": words["bias"]}
    joined = np.concatenate([x, np.broadcast_to(condition[:, None], (2, T, 2))], axis=-1)
    unconditional = {"params": {"u": variables["params"]["u"], "words": wide}}
    np.testing.assert_allclose(apply(unconditional, jnp.asarray(joined), mask), states, atol=1e-6)


def test_the_maps_of_each_gate_are_orthogonal_at_first():
    maps = np.asarray(orthogonal_gates(jax.random.key(0), (D, 3 * D))).reshape(D, 3, D).swapaxes(0, 1)
    np.testing.assert_allclose(maps @ maps.swapaxes(1, 2), np.broadcast_to(np.eye(D), (3, D, D)), atol=1e-5)
