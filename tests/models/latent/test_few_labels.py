"""A head on codes: what an encoder's encoding reads, where a graft puts it, and what is trained."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.data.transforms import labelled
from jaxgen.engine.state import grafted, part_of
from jaxgen.models.latent.autoencoder import AutoEncoder
from jaxgen.models.latent.few_labels import FewLabels
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.pixelrnn import PixelCNN

KEY = jax.random.key(7)
SHAPE = {"shape": (4, 3, 1), "levels": 5}
CODED = AutoEncoder(**SHAPE, latent=3, hidden=(6,))


class Scaled(AutoEncoder):
    """An auto-encoder with a collection of its own: its codes are multiplied by what it has counted."""

    def init(self, key, batch):
        return {**super().init(key, batch), "counted": {"scale": np.float32(2.0)}}

    def encode(self, variables, image, condition=None):
        return variables["counted"]["scale"] * super().encode(variables, image, condition)


@pytest.mark.parametrize("frozen", [False, True])
def test_with_another_runs_parts_it_is_softmax_regression_on_that_models_codes(frozen):
    """By float64 of the codes of the encoder itself, collections beside its parameters included; the loss is the mean
    of −log p of the labels and the error counts the likeliest class."""
    encoder = Scaled(**SHAPE, latent=3, hidden=(6,))
    model = FewLabels(**SHAPE, encoder=encoder, classes=4, frozen=frozen)
    place = "frozen/params/encoder" if frozen else "params/encoder/encoder"
    assert model.grafts() == (("params/encoder", place), ("counted", "frozen/counted"))
    draw = np.random.default_rng(0)
    image, label = draw.integers(0, 5, (6, 4, 3, 1)).astype(np.uint8), draw.integers(0, 4, 6).astype(np.int32)

    @jax.jit
    def everything(key):
        other = encoder.init(jax.random.key(1), {})
        other = {**other, "counted": {"scale": 3.0 + other["counted"]["scale"]}}
        variables = model.init(key, {})
        for take, put in model.grafts():
            variables = grafted(variables, put, part_of(other, take))
        batch = {"image": image, "label": label}
        return (
            variables,
            encoder.encode(other, image),
            model.objectives()[0].loss(variables, batch, key),
            model.scores(variables, batch, key),
        )

    variables, code, (loss, aux), scores = jax.device_get(everything(KEY))
    assert set(variables["params"]) == ({"head"} if frozen else {"head", "encoder"})
    assert model.objectives()[0].trains == (("head",) if frozen else ("head", "encoder"))
    assert "decoder" not in str(jax.tree_util.tree_structure(variables))
    head = variables["params"]["head"]["logits"]
    logits = code.astype(np.float64) @ head["kernel"] + head["bias"]
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    nats = -log_probs[np.arange(6), label]
    np.testing.assert_allclose(scores["nats"], nats, rtol=1e-5)
    np.testing.assert_allclose([loss, aux.metrics["nats"]], nats.mean(), rtol=1e-5)
    np.testing.assert_array_equal(scores["error"], 100.0 * (log_probs.argmax(axis=1) != label))
    np.testing.assert_allclose(aux.metrics["error"], scores["error"].mean(), rtol=1e-5)


def test_only_what_encoding_reads_is_kept_of_any_encoder():
    assert FewLabels(**SHAPE, encoder=CODED, frozen=True).grafts() == (("params/encoder", "frozen/params/encoder"),)
    vae = VAE(**SHAPE, latent=2, hidden=(5,))
    assert FewLabels(**SHAPE, encoder=vae).grafts() == (("params/encoder", "params/encoder/encoder"),)
    shapes = jax.eval_shape(FewLabels(**SHAPE, encoder=vae, hidden=(7,)).init, KEY, {})
    assert shapes["params"]["head"]["layer_0"]["kernel"].shape == (2, 7)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"encoder": CODED, "classes": 1}, "FewLabels: classes must be at least 2, got 1"),
        ({"encoder": CODED, "hidden": (0,)}, r"FewLabels: hidden must be at least 1, got \(0,\)"),
        ({"encoder": PixelCNN(**SHAPE)}, "PixelCNN cannot be the encoder of FewLabels: .*AutoEncoder"),
        ({"encoder": AutoEncoder(shape=(4, 4, 1), levels=5)}, r"encodes images \(4, 4, 1\) of 5 levels"),
        ({"encoder": AutoEncoder(shape=(4, 3, 1), levels=2)}, "of 2 levels, and these are .* of 5"),
    ],
)
def test_what_cannot_encode_these_images_is_refused(knobs, message):
    with pytest.raises(UsageError, match=message):
        FewLabels(**SHAPE, **knobs)


def test_labels_beyond_its_classes_and_data_without_labels_are_refused():
    model = FewLabels(**SHAPE, encoder=CODED, classes=3)
    image = np.zeros((2, 4, 3, 1), np.uint8)
    model.check_data({"image": image, "label": np.array([0, 2], np.int32)})
    with pytest.raises(UsageError, match="FewLabels"):
        model.check_data({"image": image, "label": np.array([0, 3], np.int32)})
    with pytest.raises(UsageError, match=r"FewLabels .*labels"):
        model.check_scored({"image": image})


def test_labelled_images_are_balanced_nested_seeded_and_nothing_else_changes():
    whole = digits().load()
    key = {x.tobytes(): int(y) for x, y in zip(whole.train.image, whole.train.label, strict=True)}
    few, more, other = (labelled(digits(), num, seed).load() for num, seed in ((20, 0), (43, 0), (20, 1)))
    assert np.bincount(few.train.label).tolist() == [2] * 10
    assert np.bincount(more.train.label).tolist() == [5] * 3 + [4] * 7
    drawn = [{x.tobytes() for x in data.train.image} for data in (few, more, other)]
    assert drawn[0] < drawn[1]
    assert drawn[0] != drawn[2]
    assert all(key[x.tobytes()] == y for x, y in zip(more.train.image, more.train.label, strict=True))
    assert few.protocol.endswith("20 labelled training images, as many of each class, draw 0")
    np.testing.assert_array_equal(few.valid.label, whole.valid.label)
    np.testing.assert_array_equal(few.test.image, whole.test.image)
    everything = labelled(Source("x", lambda: of_labels([0, 0, 1, 1])), 4).load()
    np.testing.assert_array_equal(everything.train.label, [0, 0, 1, 1])


def of_labels(label):
    train = Split(
        np.zeros((6 if label is None else len(label), 2, 2, 1), np.uint8), label and np.array(label, np.int32)
    )
    return Dataset("made", 2, train, train, None, "made up")


@pytest.mark.parametrize(
    ("label", "num", "message"),
    [
        (None, 4, "made: wanted 4 labelled training images, but these data have no labels"),
        ([0, 1, 2, 3], 3, "wanted from 4 labelled images, one of each class, to all 4 training images, got 3"),
        ([0, 1, 2, 3], 5, "to all 4 training images, got 5"),
        ([0, 0, 0, 0, 7, 7], 6, "6 labelled images are 3 of class 7, which has 2: give 4, say"),
        ([0, 7, 7, 7, 7, 7], 3, "3 labelled images are 2 of class 0, which has 1: give 2, say"),
    ],
)
def test_labels_that_are_not_there_are_refused(label, num, message):
    with pytest.raises(UsageError, match=message):
        labelled(Source("made", lambda: of_labels(label)), num).load()


ENCODER = '''"""AutoEncoder on digits. Unpublished. Ours: none."""
import optax
from jaxgen import AutoEncoder, Recipe, digits


def recipe(steps: int = 4) -> Recipe:
    model = AutoEncoder(shape=(8, 8, 1), levels=17, latent=3, hidden=(6,))
    return Recipe(data=digits(), model=model, optimizer=optax.adam(1e-2), batch=8, steps=steps)
'''


@pytest.mark.soak
def test_the_study_tells_the_means_of_its_cells_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    from jaxgen.cli.main import main

    monkeypatch.chdir(tmp_path)
    Path("coder.py").write_text(ENCODER)
    assert main(["train", "coder.py", "--run", "coder"]) == 0
    path = ROOT / "experiments/studies/few_labels.py"
    spec = importlib.util.spec_from_file_location("few_labels_study", path)
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    arguments = ["--run", "coder", "--data", "digits", "--labels", "10", "40", "--steps", "3", "--out", "out"]
    assert study.main([*arguments, "--draws", "2"]) == 0
    capsys.readouterr()
    cells = {path.name: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}
    assert len(cells) == 7 * 2 * 2
    Path("out/cells/frozen-40-1.json").unlink()
    assert study.main([*arguments, "--draws", "2"]) == 0
    told = capsys.readouterr()
    assert told.err.count("labels, draw") == 1
    again = {path.name: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}
    assert {name for name in cells if cells[name] != again[name]} == {"frozen-40-1.json"}
    rows = json.loads(Path("out/few_labels.json").read_text())["rows"]
    for row in rows:
        stem = f"{row['method'].replace(' ', '-').lower()}-{row['labels']}"
        errors = [json.loads(Path(f"out/cells/{stem}-{draw}.json").read_text())["error"] for draw in range(2)]
        assert row["error"] == pytest.approx(sum(errors) / 2)
        assert row["stderr"] == pytest.approx(abs(errors[0] - errors[1]) / 2)
        assert f"{row['error']:.2f} ± {row['stderr']:.2f}" in told.out
    with pytest.raises(SystemExit):
        study.main([*arguments[:-4], "--steps", "4", "--out", "out"])
    assert "whose steps is 3, not 4" in capsys.readouterr().err
