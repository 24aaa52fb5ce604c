"""Skip-Thought: sentences of unequal length exactly, probabilities that sum to one, the likeliest words, new words."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.vocabulary import UNKNOWN, Vocabulary
from jaxgen.engine.evaluate import summary
from jaxgen.explore.sentences import expanded, nearest_sentences
from jaxgen.models.text.skipthought import SkipThought

MODEL = SkipThought(words=5, embedding=3, features=5, decoder_features=4)
BATCH = {
    "before": np.array([[3, 1, 0, 0], [4, 2, 3, 1]], np.int32),
    "words": np.array([[2, 3, 1, 0], [4, 3, 4, 4]], np.int32),
    "after": np.array([[1, 0, 0, 0], [3, 1, 0, 0]], np.int32),
}


@pytest.fixture(scope="module")
def variables():
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), BATCH)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.standard_normal(leaf.shape), jnp.float32), shapes)


def test_a_padded_batch_has_the_loss_and_gradient_of_its_sentences_one_by_one(variables):
    gradient = jax.jit(jax.value_and_grad(lambda v, batch: MODEL.scores(v, batch, jax.random.key(0))["nats"][0]))
    nats, slopes = gradient(variables, BATCH)
    lengths = {name: (array[0] > 0).sum() for name, array in BATCH.items()}
    alone = gradient(variables, {name: array[:1, : lengths[name]] for name, array in BATCH.items()})
    assert float(nats) == pytest.approx(float(alone[0]), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), slopes, alone[1])
    # Nothing has been learned of what fills up behind sentences.
    assert not np.asarray(slopes["params"]["encoder"]["embedding"][0]).any()


def test_the_sentences_of_a_length_have_probability_one(variables):
    """All that end within three words, and those that are cut there."""
    sentences = [s for n in range(4) for s in itertools.product((2, 3, 4), repeat=n)]
    rows = np.array([[*s, 1, 0, 0, 0][:3] for s in sentences], np.int32)
    vector = jnp.broadcast_to(jnp.arange(5.0), (len(rows), 5))
    log_p = jax.jit(MODEL.log_probs, static_argnums=3)(variables, vector, jnp.asarray(rows), "after")
    assert np.exp(log_p.sum(axis=1)).sum() == pytest.approx(1, abs=1e-5)


def test_what_is_told_is_the_likeliest_word_at_each_place(variables):
    vectors = jnp.asarray(np.random.default_rng(1).standard_normal((3, 5)), jnp.float32)
    told = jax.jit(MODEL.tell, static_argnums=(2, 3))(variables, vectors, "before", 3)
    log_probs = jax.jit(MODEL.log_probs, static_argnums=3)
    for vector, row in zip(vectors, np.asarray(told)):
        sentence = []
        while len(sentence) < 3 and 1 not in sentence:
            rows = np.array([[*sentence, word, 0, 0][:3] for word in (1, 3, 4)], np.int32)  # never the unknown one
            log_p = log_probs(variables, jnp.broadcast_to(vector, (3, 5)), jnp.asarray(rows), "before")
            sentence.append((1, 3, 4)[int(np.argmax(log_p[:, len(sentence)]))])
        assert [number for number in row.tolist() if number] == sentence
        assert UNKNOWN not in row


def test_nats_per_word_of_a_split_are_all_nats_by_all_words():
    scores = {"nats": np.array([6.0, 2.0, 4.0]), "words": np.array([3.0, 1.0, 1.0])}
    figures = summary(MODEL, scores)
    assert figures["nats_per_word"] == pytest.approx(12 / 5)
    residual = (scores["nats"] - 12 / 5 * scores["words"]) / (5 / 3)
    assert figures["nats_per_word_stderr"] == pytest.approx(residual.std(ddof=1) / np.sqrt(3))


def test_new_words_are_understood_by_the_map_from_given_vectors(variables):
    vocabulary, draw = Vocabulary(("cat", "dog")), np.random.default_rng(2)
    own = np.asarray(variables["params"]["encoder"]["embedding"])
    to_given = draw.standard_normal((2, 2))
    # Vectors of two numbers that the model's own are a linear function of: what is new lies on the same plane.
    params = {**variables["params"], "encoder": {**variables["params"]["encoder"]}}
    plane = draw.standard_normal((2, 3))
    given = draw.standard_normal((3, 2)) @ to_given
    params["encoder"]["embedding"] = jnp.asarray(np.concatenate([own[:3], (given @ plane)[:2]]), jnp.float32)
    wide, words, explained = expanded({"params": params}, vocabulary, ("cat", "dog", "cow"), given.astype(np.float32))
    assert words.words == ("cat", "dog", "cow")
    assert explained == pytest.approx(1)
    np.testing.assert_allclose(wide["params"]["encoder"]["embedding"][5], (given @ plane)[2], atol=1e-4)
    numbers = words.rows(["cat cow", "dog"], 3).words
    vectors = MODEL.encode_words(wide, numbers)
    params["encoder"]["embedding"] = params["encoder"]["embedding"].at[4].set((given @ plane)[2])
    same = MODEL.encode_words({"params": params}, np.array([[3, 4, 1], [4, 1, 0]]))
    np.testing.assert_allclose(same[0], vectors[0], atol=1e-4)
    with pytest.raises(
        UsageError, match="the model knows 1, and a linear map from vectors of 2 numbers wants at least 2"
    ):
        expanded(variables, vocabulary, ("cat", "cow"), given[:2].astype(np.float32))


def test_nearest_is_by_the_angle_alone():
    vectors = np.array([[0.0, 9.0], [3.0, 0.1], [-1.0, 0.0]])
    places, cosine = nearest_sentences(np.array([[100.0, 0.0]]), vectors, 5)
    assert places.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(cosine, [[3 / np.hypot(3, 0.1), 0, -1]], atol=1e-12)


def test_data_without_neighbours_or_with_too_many_words_are_refused():
    with pytest.raises(UsageError, match='have no "before"; they have words'):
        MODEL.check_data({"words": BATCH["words"]})
    with pytest.raises(UsageError, match='below 5, and "words" has 0 to 5: raise words to 6'):
        MODEL.check_data({**BATCH, "words": BATCH["words"] + (BATCH["words"] == 4)})
    with pytest.raises(UsageError, match="words must be at least 4, got 3"):
        SkipThought(words=3)
