"""Splits, the digits, the data that a user names, and the transforms inside the step."""

import dataclasses
import importlib.machinery
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core import images
from jaxgen.core.errors import UsageError
from jaxgen.data import arrays
from jaxgen.data.arrays import digits
from jaxgen.data.dataset import Dataset, Source, Split, digest, example, finish, held_out, labels, permutation
from jaxgen.data.source import source
from jaxgen.data.transforms import by_attribute, dynamic_binarization, flipped, requantised


def made(train: np.ndarray, levels: int = 256, n_valid: int = 2) -> Source:
    data = Dataset("made", levels, Split(train), Split(train[:n_valid]), Split(train[:3]), "made up")
    return Source("made", lambda: data)


def test_a_permutation_never_changes():
    assert sorted(permutation(1000, 0, 5)) == list(range(1000))
    assert permutation(10, 1, 2).tolist() == permutation(10, 1, 2).tolist()
    assert permutation(8, 3, 8).tolist() == [2, 0, 3, 1, 6, 7, 4, 5]  # the figure pins the stream across versions
    assert permutation(100, 1, 0).tolist() != permutation(100, 2, 0).tolist() != permutation(100, 2, 1).tolist()


@pytest.mark.parametrize("n", [2, 9, 10, 1437])
def test_held_out_is_a_tenth_disjoint_and_complete(n):
    train, valid = held_out(n)
    assert len(valid) == max(1, n // 10)
    assert sorted([*train, *valid]) == list(range(n))
    assert (np.diff(train) > 0).all()


def test_digits_are_split_as_stated():
    data = digits().load()
    assert (data.shape, data.levels, data.name) == ((8, 8, 1), 17, "digits")
    assert (len(data.train) + len(data.valid), len(data.valid), len(data.test)) == (1437, 143, 360)
    assert max(s.image.max() for s in (data.train, data.valid, data.test)) == 16
    assert data.train.image.dtype == np.uint8
    assert data.train.label.dtype == np.int32
    assert set(data.test.label) == set(range(10))
    # Every image is in exactly one split: scikit-learn's 1797 digits come back, labels with them.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    ours = [
        (x.tobytes(), int(y))
        for s in (data.train, data.valid, data.test)
        for x, y in zip(s.image, s.label, strict=True)
    ]
    theirs = [(x.astype(np.uint8).tobytes(), int(y)) for x, y in zip(bunch.images, bunch.target, strict=True)]
    assert sorted(ours) == sorted(theirs)
    assert "1437 train / 360 test" in data.protocol
    assert "tenth" in data.protocol


def test_digits_are_found_where_scikit_learn_keeps_them_elsewhere(monkeypatch):
    one = digits().load()
    monkeypatch.setattr(arrays.importlib.util, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None))
    two = digits().load()
    assert (one.train.image == two.train.image).all()
    assert (one.test.label == two.test.label).all()
    monkeypatch.setattr(arrays.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install scikit-learn"):
        digits().load()


def test_digits_are_the_same_at_each_load():
    one, two = digits().load(), source("digits").load()
    assert (one.train.image == two.train.image).all()
    assert (one.valid.label == two.valid.label).all()


def test_a_digest_tells_images_and_labels_apart():
    image, label = np.arange(3000, dtype=np.uint8).reshape(3000, 1, 1, 1), np.arange(3000, dtype=np.int32)
    one = finish("one", {"train": Split(image, label)}, None, "all")
    assert digest(one) == digest(finish("again", {"train": Split(image.copy(), label)}, None, "all"))
    others = (Split(image[::-1], label), Split(image, label[::-1]), Split(image), Split(image[1:], label[1:]))
    others += tuple(Split(image, label, np.float32(image[:, 0, 0]) + number) for number in (0, 1))
    actual = {digest(finish("other", {"train": other}, None, "all")) for other in others}
    assert len(actual | {digest(one)}) == 7


def test_finish_infers_levels_and_keeps_official_splits():
    binary = np.random.default_rng(0).integers(0, 2, (5000, 2, 2, 1), dtype=np.uint8)
    data = finish(
        "x", {"train": Split(binary), "valid": Split(binary[:7]), "test": Split(binary[:5])}, None, "official"
    )
    assert (data.levels, len(data.train), len(data.valid), len(data.test)) == (2, 5000, 7, 5)
    assert data.protocol == "official"
    binary[4999] = 2  # a single value in the last block makes it no longer binary
    assert finish("x", {"train": Split(binary)}, None, "official").levels == 256


U8, F32 = np.zeros((4, 2, 2, 1), np.uint8), np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("splits", "levels", "message"),
    [
        ({"train": Split(U8.astype(np.float32))}, None, "must be uint8, found float32"),
        ({"train": Split(U8[..., 0])}, None, r"\[n, height, width, channels\].*found \[4, 2, 2\]"),
        ({"train": Split(np.zeros((4, 2, 2, 5), np.uint8))}, None, r"found \[4, 2, 2, 5\]"),
        ({"train": Split(U8[:0])}, None, r"train is empty, found shape \[0, 2, 2, 1\]"),
        ({"train": Split(U8), "test": Split(U8[:0])}, None, "test is empty"),
        ({"train": Split(U8[:1])}, None, "at least 2 images"),
        ({"train": Split(U8), "test": Split(np.zeros((2, 3, 2, 1), np.uint8))}, None, "one shape.*3, 2, 1"),
        ({"train": Split(U8, np.zeros(3, np.int32))}, None, r"4 images but labels of shape \[3\]"),
        ({"train": Split(U8, None, F32[:3])}, None, r"4 images but conditions of shape \[3, 2\]"),
        ({"train": Split(U8), "test": Split(U8, None, F32 * np.inf)}, None, "test: conditions must be finite"),
        ({"train": Split(U8 + np.uint8(7))}, 4, r"values 0 to 3 \(4 levels\), found 7"),
        ({"train": Split(U8)}, 1, "levels must be 2 to 256, got 1"),
    ],
)
def test_finish_refuses_what_is_no_image_data(splits, levels, message):
    with pytest.raises(UsageError, match=message) as caught:
        finish("x", splits, levels, "p", {"train": "some/file.npz"})
    assert str(caught.value).startswith(("some/file.npz: ", "test: ", "x: "))


def test_examples_are_evenly_spaced_through_a_sorted_file():
    label = np.repeat(np.arange(10, dtype=np.int32), 100)
    image = np.zeros((1000, 2, 2, 1), np.uint8)
    data = Dataset("sorted", 2, Split(image, label), Split(image), None, "")
    assert np.unique(example(data, 20)["label"], return_counts=True)[1].tolist() == [2] * 10
    assert (example(data, 1000)["label"] == label).all()
    assert len(example(data, 2000)["image"]) == 1000


def test_labels_want_integers():
    assert labels(np.array([[1], [2]], np.uint8), "f").tolist() == [1, 2]
    for bad in (np.zeros(3), np.array(["cat"]), np.zeros((3, 2), int)):
        with pytest.raises(UsageError, match="f: wanted integer labels"):
            labels(bad, "f")


# What a user types


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "Did you mean digits?"),
        ("mnst", "Did you mean tfds:mnist?"),
        ("tdfs:mnist", "Did you mean tfds:?"),
        ("nothing/there.npz", "no such name, and no such path"),
        ("", "no such name"),
        ("tfds:", "wanted something after 'tfds':, as in tfds:mnist"),
        ("tfds:a b", "wanted NAME, NAME/CONFIG or NAME:1.2.3"),
        ("folder:x,size=3", "unknown option 'size'; its options are crop, resize"),
        ("idx:x,levels=3", "unknown option 'levels'; it takes none"),
        ("folder:x,resize=3by4", "cannot read resize='3by4'; resize wants 32 or 28x20"),
        ("folder:x,crop=squre", "cannot read crop='squre'; crop wants square, 32 or 28x20"),
        ("npz:x,levels=x", "cannot read levels='x'; levels wants a whole number"),
        ("folder:x,resize=0", "at least 1 pixel, got 0x0"),
        ("digits,levels=3", "unknown option 'levels'"),
    ],
)
def test_unknown_data_say_what_is_known(spec, message):
    with pytest.raises(UsageError) as caught:
        source(spec).load()
    assert message in str(caught.value)


def test_a_description_reads_nothing(tmp_path):
    described = [source(f"{kind}:{tmp_path}/none") for kind in ("idx", "npz", "folder", "binarized_mnist")]
    assert "none" in described[0].name
    for each in described:
        with pytest.raises(UsageError, match=r"none: .*no (such|static)"):
            each.load()
    bare = source(f"{tmp_path}/none")
    with pytest.raises(UsageError, match="no such name, and no such path"):
        bare.load()


def test_importing_the_room_imports_no_reader():
    code = "import sys, jaxgen.data; print({'tensorflow_datasets', 'sklearn', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_comma_inside_a_path_is_no_option(tmp_path):
    np.savez(tmp_path / "a,b.npz", images=np.arange(256, dtype=np.uint8).repeat(4).reshape(256, 2, 2, 1))
    assert source(f"{tmp_path}/a,b.npz").load().levels == 256
    assert source(f"npz:{tmp_path}/a,b.npz,levels=256").load().shape == (2, 2, 1)


# Transforms


def test_dynamic_binarization_draws_with_the_intensity():
    ramp = np.arange(17, dtype=np.uint8).reshape(1, 1, 17, 1).repeat(4000, 0)
    data = dynamic_binarization(made(ramp, levels=17)).load()
    assert data.levels == 2
    assert (data.train.image == ramp).all()
    assert "dynamic" in data.protocol
    step = jax.jit(data.transform, static_argnums=2)
    batch = {"image": jnp.asarray(ramp), "label": jnp.arange(4000)}
    for train in (True, False):  # evaluation draws as well
        drawn = step(batch, jax.random.key(1), train)
        assert drawn["image"].dtype == jnp.uint8
        assert set(np.unique(drawn["image"])) == {0, 1}
        rate = np.asarray(drawn["image"]).mean((0, 1, 3))
        expected = np.arange(17) / 16
        assert (np.abs(rate - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / 4000)).all()
        assert (drawn["label"] == batch["label"]).all()
    again, other = step(batch, jax.random.key(1), True), step(batch, jax.random.key(2), True)
    assert (again["image"] == drawn["image"]).all()
    assert (other["image"] != drawn["image"]).any()


def test_flipped_mirrors_about_half_of_the_training_images_only():
    x = np.random.default_rng(0).integers(0, 256, (400, 3, 5, 3), dtype=np.uint8)
    data = flipped(made(x)).load()
    assert data.levels == 256
    out = np.asarray(data.transform({"image": jnp.asarray(x)}, jax.random.key(0), True)["image"])
    same, mirrored = (out == x).all((1, 2, 3)), (out == x[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 160 < mirrored.sum() < 240
    still = data.transform({"image": jnp.asarray(x)}, jax.random.key(0), False)["image"]
    assert (np.asarray(still) == x).all()


def test_flipped_mirrors_a_map_with_its_image():
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 5, 1), dtype=np.uint8)
    batch = {"image": jnp.asarray(x), "condition": jnp.asarray(x, jnp.float32), "label": jnp.arange(60)}
    out = flipped(made(x)).load().transform(batch, jax.random.key(0), True)
    assert (out["condition"] == out["image"]).all()
    assert (out["image"] != x).any()
    beside = batch | {"mask": batch["image"][..., 0], "words": jnp.arange(300).reshape(60, 5)}
    out = flipped(made(x)).load().transform(beside, jax.random.key(0), True)
    assert (out["mask"] == out["image"][..., 0]).all()
    assert (out["words"] == beside["words"]).all()
    vectors = batch | {"condition": jnp.arange(120.0).reshape(60, 2)}
    out = flipped(made(x)).load().transform(vectors, jax.random.key(0), True)
    assert (out["condition"] == vectors["condition"]).all()


def test_conditions_follow_their_images():
    """Into what is held out, and through requantisation."""
    x = np.arange(256, dtype=np.uint8).reshape(64, 2, 2, 1)
    condition = x.reshape(64, 4).astype(np.float32)
    data = finish("x", {"train": Split(x, None, condition)}, None, "p")
    few = requantised(Source("x", lambda: data), 2).load()
    for split, coarse in ((data.train, few.train), (data.valid, few.valid)):
        assert (split.image.reshape(-1, 4) == split.condition).all()
        assert (split.condition == coarse.condition).all()
    assert len(data.valid.condition) == 6


def test_transforms_compose_with_independent_draws():
    x = np.full((2000, 1, 2, 1), 128, np.uint8)
    x[:, :, 1] = 0
    data = dynamic_binarization(flipped(made(x))).load()
    out = np.asarray(data.transform({"image": jnp.asarray(x)}, jax.random.key(3), True)["image"])[:, 0, :, 0]
    # Ink with probability 1/2, on either side with probability 1/2, never on both.
    assert np.abs(out.mean(0) - 0.25).max() < 0.045
    assert out.sum(1).max() == 1
    assert "flipped" in data.protocol
    assert "dynamic" in data.protocol


@pytest.mark.parametrize("target", [2, 3, 8, 256])
def test_requantised_uses_equal_bins_and_every_level(target):
    x = np.arange(256, dtype=np.uint8).reshape(64, 2, 2, 1)
    data = requantised(made(x), target).load()
    assert data.levels == target
    assert (data.train.image == images.requantise(x, 256, target)).all()
    assert np.unique(data.train.image).tolist() == list(range(target))
    assert (data.test.image == images.requantise(x[:3], 256, target)).all()
    assert data.train.image.dtype == np.uint8


@pytest.mark.parametrize("target", [1, 18, 0])
def test_requantised_refuses_other_levels(target):
    with pytest.raises(UsageError, match=f"digits: requantised wants 2 to 17 levels, got {target}"):
        requantised(digits(), target).load()


def test_requantised_after_a_draw_is_refused():
    with pytest.raises(UsageError, match="requantise before"):
        requantised(flipped(digits()), 4).load()


def test_a_dataset_without_test_split_survives_transforms():
    x = np.arange(64, dtype=np.uint8).reshape(16, 2, 2, 1)
    base = made(x).load()
    no_test = Source("x", lambda: dataclasses.replace(base, test=None))
    assert requantised(no_test, 2).load().test is None


def test_labels_say_whether_an_attribute_is_there():
    image, glasses = np.zeros((6, 2, 2, 1), np.uint8), np.array([0, 3, 0, 1, 14, 0])

    def load():
        splits = {name: Split(image, glasses=glasses, all=glasses + 1) for name in ("train", "test")}
        return finish("faces", splits, 256, "drawn")

    data = by_attribute(Source("faces", load), "glasses").load()
    for split in data.splits().values():
        np.testing.assert_array_equal(split.label, split["glasses"] > 0)
    assert data.protocol.endswith("labels: whether glasses is above 0")
    with pytest.raises(UsageError, match=r"an array 'hat' with a whole number for each image, found image uint8"):
        by_attribute(Source("faces", load), "hat").load()
    with pytest.raises(UsageError, match="'all' is above 0 in all training images or none"):
        by_attribute(Source("faces", load), "all").load()
