"""The semi-supervised GAN: a softmax of K + 1 classes written out, which labels count, and the critic's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits
from jaxgen.data.transforms import dynamic_binarization, labelled, partly_labelled
from jaxgen.models.gan.semisupervised import SemiSupervisedGAN

KEY = jax.random.key(9)
LABEL = np.array([2, -1, 0, -1, 1, 1], np.int32)


def model(**knobs):
    knobs = {"shape": (3, 3, 1), "levels": 4, "classes": 3, "latent": 2, "hidden": (7, 5), **knobs}
    return SemiSupervisedGAN(**{"generator_hidden": (4,), **knobs})


def images(seed, num=6):
    return np.random.default_rng(seed).integers(0, 4, (num, 3, 3, 1)).astype(np.uint8)


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


QUIET = model(input_noise=0.0, noise=0.0)


@jax.jit
def losses(variables, batch):
    critic, generator = QUIET.objectives()
    return critic.loss(variables, batch, KEY), generator.loss(variables, batch, KEY)[0]


@pytest.fixture(scope="module")
def variables():
    return jax.jit(QUIET.init)(KEY, {"image": images(0)})


def test_the_losses_are_those_of_k_plus_1_classes_the_last_with_the_logit_zero(variables):
    """By enumeration of all classes in float64: a real image is of one of the first K, half its −log probability; a
    fake is of the last; a labelled image's class is told from the other K − 1 alone, and −1 is no label."""
    batch = {"image": images(1), "label": LABEL}
    (value, aux), generated = losses(variables, batch)
    judge = lambda x: map(np.asarray, QUIET.judged(variables, jnp.asarray(x, jnp.float32)))  # noqa: E731
    logits, features = judge(batch["image"] / 3)
    fake_logits, _ = judge(QUIET.draw(variables, jax.random.split(KEY)[0], 6)[0])
    beside = lambda x: log_softmax(np.concatenate([x, np.zeros((len(x), 1))], axis=1))  # noqa: E731
    real = -np.log(np.exp(beside(logits)[:, :3]).sum(axis=1))
    unlabelled = 0.5 * real.mean() - 0.5 * beside(fake_logits)[:, 3].mean()
    log_probs, known = log_softmax(logits), LABEL >= 0
    nats = -log_probs[known, LABEL[known]].mean()
    np.testing.assert_allclose(aux.metrics["labelled"], nats, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["unlabelled"], unlabelled, rtol=1e-5)
    np.testing.assert_allclose(value, nats + unlabelled, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["error"], 100 * (log_probs.argmax(axis=1) != LABEL)[known].mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.shown["p_real"], np.exp(-real).mean(), rtol=1e-5)
    np.testing.assert_allclose(QUIET.class_log_probs(variables, batch["image"], KEY), log_probs, rtol=1e-4, atol=1e-5)
    _, fakes = judge(QUIET.draw(variables, jax.random.split(KEY, 3)[0], 6)[0])
    np.testing.assert_allclose(generated, ((features.mean(0) - fakes.mean(0)) ** 2).sum(), rtol=1e-4)


def test_labels_of_unlabelled_images_never_enter(variables):
    """With labelled images beside them, those of the batch itself have no say; what is labelled counts as such."""
    beside = {"labelled_image": images(2, 4), "labelled_label": np.array([0, 1, 2, 1], np.int32)}
    (value, aux), generated = losses(variables, {"image": images(1), "label": LABEL, **beside})
    (other, _), other_generated = losses(variables, {"image": images(1), "label": LABEL[::-1].copy(), **beside})
    assert float(value) == float(other)
    assert float(generated) == float(other_generated)
    (_, alone), _ = losses(variables, {"image": beside["labelled_image"], "label": beside["labelled_label"]})
    np.testing.assert_allclose(aux.metrics["labelled"], alone.metrics["labelled"], rtol=1e-5)
    (_, none), _ = losses(variables, {"image": images(1), "label": np.full(6, -1, np.int32)})
    assert float(none.metrics["labelled"]) == 0


def test_the_first_batch_has_outputs_of_mean_0_and_deviation_1_and_the_norm_stays(variables):
    """What a layer gives is the same for weights in the same direction, however long."""
    x, params, scales = images(0).reshape(6, -1) / 3.0, variables["params"]["critic"], variables["scales"]
    for name in ("layer_0", "layer_1", "logits"):
        layer = params[name]
        scale = layer["scale"] if name == "logits" else scales[name]["scale"]
        y = x @ (layer["direction"] / np.linalg.norm(layer["direction"], axis=0)) * scale + layer["bias"]
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
        spread = y.std(axis=0)
        assert (np.isclose(spread, 1, atol=1e-3) | np.isclose(scale, 1)).all()
        x = np.maximum(y, 0)
    assert set(params["layer_0"]) == {"direction", "bias"}
    longer = jax.tree_util.tree_map_with_path(lambda path, a: 5 * a if "direction" in str(path) else a, params)
    ends = [
        QUIET.judged({**variables, "params": {"critic": p}}, jnp.asarray(images(3)) / 3)[0] for p in (params, longer)
    ]
    np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-5)


def test_noise_is_for_training_alone(variables):
    noisy, x = model(), jnp.asarray(images(4)) / 3
    quiet = QUIET.judged(variables, x)[0]
    np.testing.assert_array_equal(noisy.judged(variables, x)[0], quiet)
    draws = [noisy.judged(variables, x, jax.random.key(seed))[0] for seed in (0, 1)]
    assert len({float(logits[0, 0]) for logits in (*draws, quiet)}) == 3


def test_few_keep_their_labels_and_stand_beside_every_image():
    """They are those that `labelled` draws; each image has one of them beside it in training, with its own label, and
    none in evaluation."""
    whole, few, data = digits().load(), labelled(digits(), 23, 3).load(), partly_labelled(digits(), 23, 3).load()
    known = data.train.label >= 0
    np.testing.assert_array_equal(data.train.image, whole.train.image)
    np.testing.assert_array_equal(data.train.image[known], few.train.image)
    np.testing.assert_array_equal(data.train.label[known], few.train.label)
    assert (data.train.label[~known] == -1).all()
    np.testing.assert_array_equal(data.valid.label, whole.valid.label)
    batch = {name: array[:400] for name, array in data.train.items()}
    assert data.transform(batch, KEY, False) is batch
    seen = jax.device_get(jax.jit(data.transform, static_argnums=2)(batch, KEY, True))
    names = {image.tobytes(): int(label) for image, label in zip(few.train.image, few.train.label, strict=True)}
    drawn = [image.tobytes() for image in seen["labelled_image"]]
    assert [names[one] for one in drawn] == seen["labelled_label"].tolist()
    assert set(drawn) == set(names)
    assert data.protocol.endswith("23 training images with labels, as many of each class, draw 3")
    with pytest.raises(UsageError, match=r"from 10 labelled images, one of each class, to all .* got 9999"):
        partly_labelled(digits(), 9999).load()
    with pytest.raises(UsageError, match="take away labels before anything is drawn"):
        partly_labelled(dynamic_binarization(digits()), 20).load()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"classes": 1}, "SemiSupervisedGAN: classes must be at least 2, got 1"),
        ({"hidden": ()}, "SemiSupervisedGAN: hidden must have a layer"),
        ({"noise": -0.5}, "SemiSupervisedGAN: noise must be at least 0, got -0.5"),
    ],
)
def test_bad_knobs(knobs, message):
    with pytest.raises(UsageError, match=message):
        model(**knobs)


def test_data_without_labels_are_refused_and_some_may_lack_them():
    m, image = model(), images(0)
    m.check_data({"image": image, "label": LABEL})
    with pytest.raises(UsageError, match="these data have none: give data with labels, -1 for images without one"):
        m.check_data({"image": image})
    with pytest.raises(UsageError, match="all labels are -1: label some"):
        m.check_data({"image": image, "label": np.full(6, -1, np.int32)})
    with pytest.raises(UsageError, match="knows the classes 0 to 2, or -1 for none: got 3"):
        m.check_data({"image": image, "label": np.where(LABEL == 2, 3, LABEL)})
    with pytest.raises(UsageError, match="SemiSupervisedGAN knows the classes 0 to 2: got -1"):
        m.check_scored({"image": image, "label": LABEL})
