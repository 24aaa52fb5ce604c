"""The matching-aware GAN: its critic's three terms, the classes that it shows, and what a judge makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE

from jaxgen.core.capabilities import Classifier, Features
from jaxgen.core.conditions import Classes, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.explore.trained import Trained
from jaxgen.maths.labels import wrong_labels
from jaxgen.models.gan.conditional import ConditionalGAN
from jaxgen.runs import feature_judge
from jaxgen.runs.feature_judge import ClassJudge

KEY = jax.random.key(5)


def model(**knobs):
    knobs = {"shape": (4, 4, 1), "levels": 4, "net": "dense", "latent": 3, "features": 1, "norm": "none", **knobs}
    return ConditionalGAN(**{"condition": Classes(3), **knobs})


def test_both_players_minimise_what_they_are_named_for():
    """The critic's loss written out over its three kinds of pairs, their probabilities for the progress line, and the
    generator's, each with the label of the image at the same place."""
    m, label = model(), np.arange(8, dtype=np.int32) % 3
    image = np.random.default_rng(0).integers(0, 4, (8, 4, 4, 1)).astype(np.uint8)
    batch = {"image": image, "label": label}
    variables = jax.jit(m.init)(KEY, {})

    @jax.jit
    def losses(variables):
        critic, generator = m.objectives()
        return critic.loss(variables, batch, KEY), generator.loss(variables, batch, KEY)

    @jax.jit
    def written_out(variables):
        params, told = variables["params"], jax.nn.one_hot(label, 3)
        score = lambda x, told: m.critic.apply({"params": params["critic"]}, x, told)[0][:, 0]  # noqa: E731
        fake_of = lambda key: m.generator.apply({"params": params["generator"]}, m.prior(key, 8), told)  # noqa: E731
        noise_key, wrong_key, _ = jax.random.split(KEY, 3)
        wrong = jax.nn.one_hot(wrong_labels(wrong_key, jnp.asarray(label), 3), 3)
        real = jnp.asarray(image) / 3 * 2 - 1
        p = [jax.nn.sigmoid(s) for s in (score(real, told), score(real, wrong), score(fake_of(noise_key), told))]
        critic = (-jnp.log(p[0]) - jnp.log(1 - p[1]) - jnp.log(1 - p[2])).mean()
        generator = -jnp.log(jax.nn.sigmoid(score(fake_of(jax.random.split(KEY)[0]), told))).mean()
        return critic, generator, [x.mean() for x in p]

    ((critic, aux), (generator, _)), want = losses(variables), written_out(variables)
    np.testing.assert_allclose([critic, generator], want[:2], rtol=1e-5)
    np.testing.assert_allclose([aux.shown[name] for name in ("p_real", "p_wrong", "p_fake")], want[2], rtol=1e-5)


def test_a_row_for_each_class_and_a_code_in_each_column():
    m = model()
    variables = jax.jit(m.init)(KEY, {})
    page = np.asarray(jax.jit(lambda v: m.shows(v, {}, KEY)["classes"])(variables))
    assert page.shape == (1, 3 * 4, 10 * 4, 1)
    z = m.prior(KEY, 10)
    for y in range(3):
        row = np.asarray(m.decode(variables, z, jnp.full(10, y)))
        np.testing.assert_array_equal(page[0, 4 * y : 4 * y + 4], np.concatenate(row, axis=1))
    assert len(np.unique(page.reshape(3, -1), axis=0)) == 3


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"condition": None}, r"ConditionalGAN is told a class: give condition=Classes\(10\)"),
        ({"condition": Vector(3)}, "ConditionalGAN cannot be conditioned on Vector.*: it takes Classes"),
        ({"condition": Classes(1)}, "wanted at least 2 classes, as a wrong label is one of the others, got 1"),
        ({"condition": Classes(3, dropout=0.1)}, "whose label is dropped has no wrong one, got dropout=0.1"),
        ({"loss": "hinge"}, "ConditionalGAN: loss must be one of non-saturating, minimax, got 'hinge'"),
        ({"penalty": "r1"}, "ConditionalGAN: penalty must be one of none, got 'r1'"),
    ],
)
def test_bad_knobs(knobs, message):
    with pytest.raises(UsageError, match=message):
        model(**knobs)


def test_data_without_labels_or_with_other_classes_are_refused():
    image = np.zeros((2, 4, 4, 1), np.uint8)
    with pytest.raises(UsageError, match='ConditionalGAN is conditional, but its data have no "label"'):
        model().check_data({"image": image})
    with pytest.raises(UsageError, match="ConditionalGAN knows the classes 0 to 2: got 3"):
        model().check_data({"image": image, "label": np.array([0, 3], np.int32)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness(Classifier, Features):
    """Takes the level of an image's first pixel, of 8 in steps of two, for its class of 4."""

    classes: int = 4

    def init(self, key, batch):
        return {}

    def objectives(self):
        return ()

    def features(self, variables, image):
        return to_float(image, self.levels).reshape(len(image), -1)

    def class_log_probs(self, variables, image, key):
        return jax.nn.log_softmax(10.0 * jax.nn.one_hot(image[:, 0, 0, 0] // 2, self.classes))


def test_a_judge_counts_samples_that_are_of_their_class(monkeypatch):
    """Also where the samples have fewer levels than the classifier's images."""
    net = Trained(Brightness(shape=(1, 1, 1), levels=8), {}, ONE)
    monkeypatch.setattr(feature_judge, "_net", lambda *given: net)
    judge = ClassJudge(classifier="runs/bright", num=150)
    assert dict(judge.figures) == {"accuracy[bright]": "higher"}
    judge.check((1, 1, 1), 8)
    label = np.arange(150) % 4
    image = (2 * np.where(np.arange(150) < 120, label, 3 - label)).astype(np.uint8).reshape(150, 1, 1, 1)
    assert judge.judge(image, image, 8, label) == pytest.approx({"accuracy[bright]": 80.0})
    black_and_white = np.array([0, 1, 1, 0], np.uint8).reshape(4, 1, 1, 1)  # 0 and 7 of 8 levels: classes 0 and 3
    assert judge.judge(black_and_white, image, 2, np.array([0, 3, 0, 3])) == pytest.approx({"accuracy[bright]": 50.0})
    with pytest.raises(UsageError, match="drawn under none: judge a model that is conditional on classes"):
        judge.judge(image, image, 8, None)
    with pytest.raises(UsageError, match=r"gives features of 1×1×1 images of 8 levels, but these are 2×2×1"):
        judge.check((2, 2, 1), 8)
