"""The classifier against its layers by hand, its loss against its probabilities, and what it refuses."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.zoo import BATCH, KEY, ROWS, batch_of, compiled, shaken

from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.models.classifier import ConvClassifier

ROW = ROWS["classifier"]


def by_hand(params, image, levels):
    """Convolutions, ReLU and flax's own pooling in the order of the paper; hidden layer and logits."""
    x = to_float(image, levels)
    for name in ("conv_0_0", "conv_0_1"):
        conv, form = params[name], ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, conv["kernel"], (1, 1), "SAME", dimension_numbers=form)
        x = nn.relu(x + conv["bias"])
    x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
    hidden = nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return hidden, hidden @ params["logits"]["kernel"] + params["logits"]["bias"]


def test_features_and_probabilities_are_those_of_the_layers_by_hand():
    """On 5×4 images, whose last row the pooling leaves out."""
    variables, batch = shaken(ROW, 0), batch_of(ROW)
    hidden, logits = jax.jit(by_hand, static_argnums=2)(variables["params"]["net"], batch["image"], ROW.levels)
    features = compiled(ROW, "features")(variables, batch["image"])
    np.testing.assert_allclose(features, hidden, rtol=1e-4, atol=1e-5)
    assert (features == 0).any()
    log_probs = compiled(ROW, "class_log_probs")(variables, batch["image"], KEY)
    np.testing.assert_allclose(log_probs, jax.nn.log_softmax(logits), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.nn.logsumexp(log_probs, axis=1), 0, atol=1e-5)
    turned = compiled(ROW, "features")(variables, batch["image"][::-1])
    np.testing.assert_allclose(turned[::-1], features, atol=1e-5)


def test_the_loss_without_dropout_is_the_mean_score():
    model, variables, batch = dataclasses.replace(ROW, dropout=0.0), shaken(ROW, 0), batch_of(ROW)
    loss, aux = jax.jit(model.objectives()[0].loss)(variables, batch, KEY)
    scores = jax.jit(model.scores)(variables, batch, KEY)
    assert scores["nats"].shape == (BATCH,)
    assert float(loss) == pytest.approx(float(scores["nats"].mean()), rel=1e-5)
    assert float(aux.metrics["error"]) == pytest.approx(float(scores["error"].mean()))
    wrong = compiled(ROW, "class_log_probs")(variables, batch["image"], KEY).argmax(axis=1) != batch["label"]
    np.testing.assert_array_equal(scores["error"], 100.0 * wrong)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"conv": (4, 4, 4)}, "at least 8 pixels high and wide, got 5×4: give fewer blocks"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_net_are_refused(settings, part):
    with pytest.raises(UsageError, match=part):
        ConvClassifier(**{"shape": (5, 4, 1), "levels": 2, "conv": (4,), **settings})


def test_data_need_a_label_of_a_class_for_each_image():
    batch = {name: np.asarray(array) for name, array in batch_of(ROW).items()}
    for check in (ROW.check_data, ROW.check_scored):
        check(batch)
        with pytest.raises(UsageError, match="these data have none: give data with labels"):
            check({"image": batch["image"]})
        with pytest.raises(UsageError, match="knows the classes 0 to 9: got 10"):
            check({**batch, "label": np.full(BATCH, 10, np.int32)})
    assert jnp.isfinite(ROW.class_log_probs(shaken(ROW, 1), batch["image"][:1], KEY)).all()
