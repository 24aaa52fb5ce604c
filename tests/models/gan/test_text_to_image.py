"""The GAN that is told sentences: what its players minimise, which part learns from whom, what vectors stand for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE

from jaxgen.core.conditions import Text
from jaxgen.core.errors import UsageError
from jaxgen.explore.text_conditional import between_sentences, by_sentences, restyled, text_vectors
from jaxgen.explore.trained import Trained
from jaxgen.models.gan.text_to_image import TextToImage, others

KEY, B = jax.random.key(5), 4
MODEL = TextToImage(
    shape=(8, 8, 1), levels=4, features=2, latent=3, norm="none", embedding=3, condition=Text(words=9, length=4, size=5)
)
DRAW = np.random.default_rng(0)
BATCH = {
    "image": DRAW.integers(0, 4, (B, 8, 8, 1)).astype(np.uint8),
    "words": np.array([[3, 4, 1, 0], [5, 1, 0, 0], [6, 7, 8, 1], [3, 1, 0, 0]], np.int32),
}


@pytest.fixture(scope="module")
def variables():
    """Strong random weights: at N(0, .02²) the players know nothing of each other."""
    fresh = jax.jit(MODEL.init)(KEY, {})
    return jax.tree.map(lambda a: a + 0.3 * DRAW.standard_normal(a.shape, np.float32), fresh)


def log_loss(score, real):
    p = jax.nn.sigmoid(score)
    return -jnp.log(p if real else 1 - p)


def test_players_minimise_what_they_are_named_for(variables):
    """Written out: cross-entropies of real images under their sentences, half of those under others and of fakes; the
    generator's over all sentences and as many halfway points again, halved; the style net's squared error."""

    @jax.jit
    def losses(variables):
        return [objective.loss(variables, BATCH, KEY) for objective in MODEL.objectives()]

    @jax.jit
    def written_out(variables):
        params = variables["params"]
        text = MODEL.text.apply({"params": params["text"]}, jnp.asarray(BATCH["words"]))
        score = lambda x, t: MODEL.critic.apply({"params": params["critic"]}, x, t)[0][:, 0]  # noqa: E731
        draw = lambda z, t: MODEL.generator.apply({"params": params["generator"]}, z, t)  # noqa: E731
        real = jnp.asarray(BATCH["image"]) / 3 * 2 - 1
        noise_key, wrong_key, _ = jax.random.split(KEY, 3)
        right, wrong = score(real, text), score(real, others(wrong_key, text))
        fake = score(draw(MODEL.prior(noise_key, B), text), text)
        critic = (log_loss(right, True) + 0.5 * log_loss(wrong, False) + 0.5 * log_loss(fake, False)).mean()
        noise_key, other_key = jax.random.split(KEY)
        halfway = 0.5 * (text + others(other_key, text))[: B // 2]
        all_text = jnp.concatenate([text, halfway])
        generator = log_loss(score(draw(MODEL.prior(noise_key, B + B // 2), all_text), all_text), True).mean()
        z = MODEL.prior(jax.random.split(KEY)[0], B)
        back = MODEL.style.apply({"params": params["style"]}, draw(z, text))[0]
        return [critic, generator, ((z - back) ** 2).mean()], [jax.nn.sigmoid(s).mean() for s in (right, wrong, fake)]

    actual, (want, shares) = losses(variables), written_out(variables)
    np.testing.assert_allclose([loss for loss, _ in actual], want, rtol=1e-5)
    shown = actual[0][1].shown
    np.testing.assert_allclose([shown[name] for name in ("p_real", "p_wrong", "p_fake")], shares, rtol=1e-5)


def test_another_row_is_never_ones_own_and_every_other_comes_up():
    rows = jnp.arange(3.0)[:, None]
    shifts = {tuple(np.asarray(others(jax.random.key(seed), rows))[:, 0]) for seed in range(12)}
    assert shifts == {(2.0, 0.0, 1.0), (1.0, 2.0, 0.0)}


def test_what_fills_up_behind_a_sentence_is_no_word(variables):
    """One more 0 behind each sentence, in a model that takes longer ones: the same vectors."""
    longer = dataclasses.replace(MODEL, condition=Text(words=9, length=6, size=5))
    words = np.pad(BATCH["words"], ((0, 0), (0, 2)))
    np.testing.assert_allclose(longer.text_vectors(variables, words), MODEL.text_vectors(variables, BATCH["words"]))


def test_a_frozen_encoder_is_not_trained_and_its_vectors_are_made_beforehand(variables):
    frozen = dataclasses.replace(MODEL, frozen=True)
    params = {name: part for name, part in variables["params"].items() if name != "text"}
    grafted = {**variables, "params": params, "frozen": {"text": variables["params"]["text"]}}
    assert [objective.trains for objective in frozen.objectives()] == [("critic",), ("generator",), ("style",)]
    assert jax.tree.structure(jax.eval_shape(frozen.init, KEY, {})) == jax.tree.structure(grafted)
    derived = frozen.derived({"frozen": grafted["frozen"]}, BATCH)
    np.testing.assert_array_equal(derived["sentence_vector"], MODEL.text_vectors(variables, BATCH["words"]))
    told = frozen.condition_vector(grafted, {**BATCH, **derived}, KEY)
    np.testing.assert_allclose(told, frozen.condition_vector(grafted, BATCH, KEY), rtol=1e-6)
    assert MODEL.derived(variables, BATCH) == {}


def test_a_vector_stands_for_its_sentence_and_ways_have_their_sentences_at_the_ends(variables):
    run = Trained(MODEL, variables, ONE)
    words, z = BATCH["words"][:2], run.prior(3, 7)
    vectors = text_vectors(run, words)
    np.testing.assert_array_equal(run.decode(z[:2], words), run.decode(z[:2], vectors))
    rows, way = by_sentences(run, words, 3, seed=7), between_sentences(run, words, 3, 3, seed=7)
    np.testing.assert_array_equal(way[[0, 2]], rows)
    np.testing.assert_array_equal(rows[0], run.decode(z, words[[0, 0, 0]]))
    np.testing.assert_array_equal(way[1], run.decode(z, vectors.mean(axis=0)[None].repeat(3, axis=0)))
    image = BATCH["image"][:3]
    codes = run.encode(image, BATCH["words"][:3])
    np.testing.assert_array_equal(codes, run.encode(image, BATCH["words"][1:]))
    np.testing.assert_array_equal(restyled(run, words, image)[1], run.decode(codes, words[[1, 1, 1]]))


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"condition": None}, "is told a sentence"),
        ({"net": "dense"}, "net"),
        ({"loss": "hinge"}, "loss"),
        ({"pack": 2}, "one image and one sentence at a time"),
        ({"embedding": 0}, "embedding"),
    ],
)
def test_settings_that_make_no_model_are_refused(knobs, words):
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(MODEL, **knobs)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (None, "conditional on sentences"),
        (np.zeros((2, 5), np.int32), r"words \[2, 4\]"),
        (np.full((2, 4), 9, np.int32), "knows the words 0 to 8, got 9"),
        (np.zeros((2, 4), np.float32), r"shape \(2, 5\)"),
    ],
)
def test_conditions_that_are_no_sentences_are_refused(condition, words):
    with pytest.raises(UsageError, match=words):
        MODEL.check_condition(condition, 2)
