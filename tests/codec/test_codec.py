"""The codec: every image comes back bit for bit, in as many bits as the model says; anything amiss is refused."""

import dataclasses
import functools
import hashlib
import importlib.util
import io
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.zoo import ONE_EACH, ROWS, batch_of, variables_of
from helpers import ROOT
from helpers.pixel import random_variables
from PIL import Image

from jaxgen import codec
from jaxgen.codec import container
from jaxgen.codec.programs import OPTIONS, Steps
from jaxgen.core.capabilities import Incremental
from jaxgen.core.conditions import Classes, Map, Vector, tail
from jaxgen.core.errors import UsageError
from jaxgen.core.model import ImageModel
from jaxgen.core.orders import ORDERS
from jaxgen.data.arrays import digits
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.evaluate import evaluate
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelrnn import PixelCNN, RowLSTM

WALKED = [name for name in ONE_EACH if isinstance(ROWS[name], Incremental)]


def noise(model, num, seed=0):
    return np.random.default_rng(seed).integers(0, model.levels, (num, *model.shape)).astype(np.uint8)


def bits_of(model, variables, image, condition=None):
    """−log2 p of all images, by full passes."""
    nats = jax.jit(model.log_prob)(variables, image, jax.random.key(0), condition)
    return -float(np.asarray(nats, np.float64).sum()) / np.log(2)


@pytest.fixture(scope="module")
def made():
    """A small model, its variables, images, and the file made of them."""
    model = PixelCNN(shape=(3, 4, 3), levels=4, layers=1, features=6, head_features=6)
    variables, image = random_variables(model), noise(model, 5)
    data, _ = codec.compress(model, variables, image, batch=2, about={"run": "mine", "step": 7})
    return model, variables, image, data


def changed(data, **fields):
    """The same file, with other fields in its header and checksums that fit."""
    header, payload = container.unpack(data, "it")
    for name, value in fields.items():
        header[name] = header[name] | value if isinstance(value, dict) else value
    return container.pack(header, payload)


def refused(made, data, match, model=None, variables=None):
    with pytest.raises(UsageError, match=match) as error:
        codec.decompress(model or made[0], made[1] if variables is None else variables, data, "it.jgz")
    assert str(error.value).startswith("it.jgz")
    return str(error.value)


# --- what goes in comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WALKED)
def test_images_of_every_model_come_back(name):
    """Five images, two at a time: the last batch is filled up."""
    model, batch = ROWS[name], batch_of(ROWS[name], 5)
    image, condition = np.asarray(batch["image"]), model.condition_of(batch)
    data, figures = codec.compress(model, variables_of(model), image, condition, batch=2)
    back = codec.decompress(model, variables_of(model), data)
    np.testing.assert_array_equal(back.image, image)
    if condition is not None:
        np.testing.assert_array_equal(back.label, condition)
    bits = bits_of(model, variables_of(model), image, condition)
    assert figures["model_bits_per_dim"] * image.size == pytest.approx(bits, rel=1e-5)
    assert 8 * figures["stream_bytes"] == pytest.approx(bits, abs=64 + 1e-3 * bits)
    assert figures["bytes"] == sum(figures[f"{part}_bytes"] for part in ("header", "label", "stream")) == len(data)
    assert figures["count"] == 5


@pytest.mark.parametrize("order", ORDERS[1::3])
def test_images_come_back_in_an_order(order):
    model = RowLSTM(shape=(3, 4, 1), levels=5, layers=1, features=4, head_features=4, order=order)
    variables, image = random_variables(model), noise(model, 3)
    np.testing.assert_array_equal(
        codec.decompress(model, variables, codec.compress(model, variables, image)[0]).image, image
    )


@pytest.mark.parametrize("scale", [2, 3])
def test_images_come_back_from_two_scales_with_orders_of_their_own(scale):
    """Of sizes that the scale does not divide; each pixel is stored once, though the large model walks over all."""
    small = PixelCNN(shape=(1, 1, 1), levels=5, layers=1, features=4, head_features=4, order="up-left")
    large = RowLSTM(shape=(1, 1, 1), levels=5, layers=1, features=4, head_features=4, order="left-down")
    model = MultiScale(shape=(5, 4, 1), levels=5, small=small, large=large, scale=scale, map_features=3)
    variables, image, told = random_variables(model), noise(model, 5), []
    data, figures = codec.compress(model, variables, image, batch=3, progress=told.append)
    np.testing.assert_array_equal(codec.decompress(model, variables, data).image, image)
    bits = bits_of(model, variables, image)
    assert figures["model_bits_per_dim"] * image.size == pytest.approx(bits, rel=1e-5)
    assert 8 * figures["stream_bytes"] == pytest.approx(bits, abs=64 + 1e-3 * bits)
    assert told == sorted(told)
    assert told[-1] == 5


def test_a_whole_split_is_stored_in_the_nats_that_it_is_evaluated_at():
    """The 1,294 training digits, in three batches: within 1 % of the likelihood by full passes, header aside."""
    model = PixelCNN(shape=(8, 8, 1), levels=17, layers=1, features=6, head_features=6)
    variables, split = random_variables(model, scale=0.2), digits().load().train
    data, figures = codec.compress(model, variables, split.image)
    evaluated = evaluate(model, variables, split, mesh=make_mesh(jax.devices()[:1]), batch=647)["bits_per_dim"]
    assert figures["count"] == len(split) >= 1000
    assert figures["model_bits_per_dim"] == pytest.approx(evaluated, rel=1e-5)
    assert evaluated * 0.9999 < figures["stream_bits_per_dim"] < 1.01 * evaluated
    np.testing.assert_array_equal(codec.decompress(model, variables, data).image, split.image)


@pytest.mark.parametrize("bias", [0.0, -7.0, -25.0])
def test_images_that_a_model_draws_cost_their_entropy(bias):
    """A Bernoulli model with p(1) ≈ σ(bias): 1,000 of its own draws, and next to nothing where it is nearly sure."""
    model = PixelCNN(shape=(6, 7, 1), levels=2, layers=1, features=4, head_features=4)
    variables = random_variables(model, scale=0.05)
    last = max(variables["params"], key=lambda name: name if name.startswith("head") else "")
    variables["params"][last]["bias"] = jnp.full_like(variables["params"][last]["bias"], bias)
    image = np.asarray(jax.jit(model.sample, static_argnums=2)(variables, jax.random.key(0), 1000))
    data, figures = codec.compress(model, variables, image, batch=1000)
    bits = bits_of(model, variables, image)
    assert abs(8 * figures["stream_bytes"] - bits) < 64 + 1e-3 * bits
    np.testing.assert_array_equal(codec.decompress(model, variables, data).image, image)


def test_a_surprise_costs_no_more_than_24_bits():
    """A model that is sure of zeros, and all ones: probabilities that underflow still code."""
    model = PixelCNN(shape=(2, 3, 1), levels=2, layers=1, features=4, head_features=4)
    variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), {}))
    last = max(variables["params"], key=lambda name: name if name.startswith("head") else "")
    variables["params"][last]["bias"] = jnp.full_like(variables["params"][last]["bias"], -1000.0)
    image = np.ones((4, 2, 3, 1), np.uint8)
    data, figures = codec.compress(model, variables, image)
    assert 8 * figures["stream_bytes"] <= 24 * image.size + 64
    np.testing.assert_array_equal(codec.decompress(model, variables, data).image, image)


def test_bfloat16_comes_back_too():
    model = RowLSTM(shape=(3, 4, 1), levels=5, layers=1, features=4, head_features=4, dtype="bfloat16")
    variables, image = random_variables(model), noise(model, 3)
    data, figures = codec.compress(model, variables, image)
    np.testing.assert_array_equal(codec.decompress(model, variables, data).image, image)
    assert figures["model_bits_per_dim"] * image.size == pytest.approx(bits_of(model, variables, image), rel=2e-2)


def test_labels_are_stored_where_they_are_given():
    kind = Classes(300, dropout=0.1)
    model = PixelCNN(shape=(3, 3, 1), levels=2, layers=1, features=4, head_features=4, condition=kind)
    variables, image = random_variables(model), noise(model, 5)
    label = np.array([-1, 3, 299, 0, 7])
    data, figures = codec.compress(model, variables, image, label, batch=3)
    back = codec.decompress(model, variables, data)
    np.testing.assert_array_equal(back.image, image)
    np.testing.assert_array_equal(back.label, label)
    assert figures["label_bytes"] == 10
    assert 8 * figures["stream_bytes"] == pytest.approx(bits_of(model, variables, image, label), abs=64)
    data, figures = codec.compress(model, variables, image)
    back = codec.decompress(model, variables, data)
    np.testing.assert_array_equal(back.image, image)
    assert back.label is None
    assert figures["label_bytes"] == 0


def test_a_file_is_a_function_of_what_is_in_it(made):
    """Made again it has the same bytes; and progress is told row by row, up to the last image."""
    model, variables, image, data = made
    told = []
    about = {"run": "mine", "step": 7}
    assert codec.compress(model, variables, image, batch=2, about=about, progress=told.append)[0] == data
    assert told == sorted(told)
    assert told[-1] == 5
    told.clear()
    codec.decompress(model, variables, data, progress=told.append)
    assert told[-1] == 5
    header = codec.header(data)
    assert (header["count"], header["shape"], header["levels"], header["batch"]) == (5, [3, 4, 3], 4, 2)
    assert header["with"]["jax"] == jax.__version__


# --- the step that both sides run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WALKED)
def test_the_step_gives_the_conditionals_of_full_passes(name):
    model, batch = ROWS[name], batch_of(ROWS[name], 2)
    image, condition = np.asarray(batch["image"]), model.condition_of(batch)
    shake = functools.partial(jax.tree.map, lambda a: a + 0.3 * jax.random.normal(jax.random.key(1), a.shape))
    variables = jax.jit(shake)(variables_of(model))
    steps, actual = Steps(model, variables, 2, condition is not None), []

    def pixel(values, step):
        pmf, state, kept = step(values)
        actual.append(np.asarray(pmf))
        return values, state, kept

    walked = steps.walk(image, None if condition is None else np.asarray(condition), pixel)
    np.testing.assert_array_equal(walked, image)
    wanted = np.exp(jax.jit(model.log_pmf)(variables, image, condition))
    turn = np.argsort(model.drawing_rank(), axis=None)  # each pixel once, in the model's order
    wanted = wanted.reshape(2, -1, *wanted.shape[3:])[:, turn].swapaxes(0, 1)
    np.testing.assert_allclose(np.stack(actual), wanted, atol=2e-6)
    assert all(program.pixel._cache_size() == 1 for program in steps.programs), "one program for every pixel of a walk"


@pytest.mark.parametrize("name", [name for name in WALKED if ROWS[name].shape[2] > 1])
def test_probabilities_of_a_channel_have_the_same_bits_whatever_comes_after_it(name):
    """What the decoder asks for channel k, with zeros from k on, is what the encoder asked with all channels known."""
    model = ROWS[name]
    condition = model.condition_of(batch_of(model, 2))
    steps = Steps(model, variables_of(model), 2, conditional=condition is not None)
    image, rng = noise(model, 2), np.random.default_rng(1)

    def pixel(values, step):
        pmf, state, kept = step(values)
        other = rng.integers(0, model.levels, values.shape).astype(np.uint8)
        for k in range(model.shape[2]):
            for rest in (np.zeros_like(other), other):
                known = np.where(np.arange(model.shape[2]) < k, values, rest)
                np.testing.assert_array_equal(step(known)[0][:, k], pmf[:, k])
        return values, state, kept

    steps.walk(image, condition, pixel)


def test_the_compiler_knows_the_options():
    """Every platform's compiler reads the options of all."""
    for options in OPTIONS.values():
        assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_found_wherever_it_is(made):
    data = made[3]
    size = len(data)
    for place in {*range(0, 48, 5), *range(48, size, 37), size - 1}:
        for bit in (0, 7):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            refused(made, bytes(broken), "damaged or cut short|no file of `jaxgen compress`")


def test_a_truncated_file_is_found_wherever_it_ends(made):
    data = made[3]
    for size in {0, 1, 7, 8, 20, 40, 43, 44, len(data) // 2, len(data) - 4, len(data) - 1}:
        refused(made, data[:size], "damaged or cut short|no file of `jaxgen compress`")
    refused(made, data + b"\0", "damaged or cut short")
    refused(made, b"\x89PNG\r\n\x1a\n" + data[8:], "no file of `jaxgen compress`")


@pytest.mark.parametrize("text", [b"{", b"[1]", b"[" * 100_000, b"\xff", b'{"format": [2]}', b"{}"])
def test_a_header_that_is_none_is_refused(made, text):
    rest = len(text).to_bytes(4, "little") + text
    data = container.MAGIC + hashlib.sha256(rest).digest() + rest
    refused(made, data, r"its header cannot be read \(|has format .*, jaxgen .* reads 2")
    with pytest.raises(UsageError, match=r"^it\.jgz "):
        codec.header(data, "it.jgz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("count", value) for value in (0, -1, "2", True, 1.5, None)),
        *(("shape", value) for value in ([3, 4], [3, 4, "3"], 3, [])),
        *(("labels", value) for value in ("O", "|O", "<u8", 3, [])),
        *((name, 7) for name in ("model", "digest", "machine", "probe", "images", "with", "about")),
        *(("batch", value) for value in (0, "2", [])),
        ("levels", None),
    ],
)
def test_a_field_of_another_kind_is_named(made, name, value):
    header, payload = container.unpack(made[3], "it")
    refused(made, container.pack(header | {name: value}, payload), rf"its header cannot be read \({name}\)")
    header.pop(name)
    refused(made, container.pack(header, payload), rf"its header cannot be read \({name}\)")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"count": 10**9, "labels": "|u1"}, "it holds other bytes than its header says"),
        ({"batch": 6}, "it holds other bytes than its header says"),
        ({"labels": "|u1", "count": 4}, "unconditional"),
        ({"count": 10**30}, "for which there is no memory here"),
        ({"with": {"another": "1"}}, "made with another 1, here is another None"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(made, fields, match):
    refused(made, changed(made[3], **fields), match)


def test_another_model_is_refused(made):
    model, variables, _, data = made
    last = jax.tree.map(lambda a: a, variables)
    leaves, tree = jax.tree.flatten(last)
    leaves[-1] = leaves[-1].at[-1].set(np.nextafter(leaves[-1][-1], 9))  # the last bit of one weight
    said = refused(made, data, "another PixelCNN, or another checkpoint", variables=tree.unflatten(leaves))
    assert container.digest(model, variables)[:12] in said
    assert "run mine, step 7" in said
    refused(made, data, "another PixelCNN", model=dataclasses.replace(model, dropout=0.5))
    refused(made, data, r"shape \[3, 4, 3\], .* \[4, 3, 3\]", model=dataclasses.replace(model, shape=(4, 3, 3)))
    refused(made, data, "levels 4, .* have 5", model=dataclasses.replace(model, levels=5))
    other = RowLSTM(shape=(3, 4, 3), levels=4, layers=1, features=6, head_features=6)
    refused(made, data, "made by a PixelCNN, this is a RowLSTM", model=other)


@pytest.mark.parametrize("what", ["jax", "jaxlib", "constriction", "device", "machine"])
def test_other_versions_and_devices_are_refused(made, what):
    here = codec.header(made[3])["with"][what]
    said = refused(made, changed(made[3], **{"with": {what: "0.3.1"}}), f"made with {what} 0.3.1")
    assert f"here is {what} {here}" in said


def test_another_format_is_refused(made):
    refused(made, changed(made[3], format=9, jaxgen="8.1"), "format 9, jaxgen .* reads 2: read it with jaxgen 8.1")


def test_other_floats_are_refused(made):
    """Found by the probe before anything is read; and where not even that tells, by the checksum of the images."""
    model, variables, _, data = made
    refused(made, changed(data, probe="0" * 64, machine="a loom"), r"other floats \(on a loom; this is .* cores\)")
    other = jax.tree.map(lambda a: a + 0.01, variables)
    disguised = changed(data, digest=container.digest(model, other), probe=Steps(model, other, 2).probe())
    refused(made, disguised, "gave other images than were put in|does not decode", variables=other)
    refused(made, changed(data, images="0" * 64), "gave other images than were put in")


def test_the_probe_tells_programs_apart(made):
    model, variables, _, _ = made
    probe = Steps(model, variables, 2).probe()
    assert probe == Steps(model, variables, 2).probe()
    assert probe != Steps(model, variables, 3).probe()
    nudged = jax.tree.map(lambda a: a * (1 + 3e-7), variables)
    assert probe != Steps(model, nudged, 2).probe()


@pytest.mark.parametrize(
    "name", [name for name in ONE_EACH if name not in WALKED and isinstance(ROWS[name], ImageModel)]
)
def test_a_model_without_a_walk_says_so(name):
    model = ROWS[name]
    with pytest.raises(
        UsageError, match=f"{type(model).__name__} cannot compress images: .*Models that can: .*RowLSTM"
    ):
        codec.compress(model, {}, noise(model, 1))


@pytest.mark.parametrize("kind", [Vector(3), Map(2)])
def test_vectors_and_maps_come_back_with_their_images(kind):
    """To the last bit, from a last batch that is filled up, in the bits that the model says under them."""
    model = GatedPixelCNN(shape=(3, 4, 1), levels=3, layers=1, features=4, head_features=4, condition=kind)
    variables, image = random_variables(model), noise(model, 5)
    condition = np.random.default_rng(0).normal(size=(5, *tail(kind, model.shape))).astype(np.float32)
    data, figures = codec.compress(model, variables, image, condition, batch=2)
    assert figures["label_bytes"] == condition.nbytes
    back = codec.decompress(model, variables, data)
    assert back.label is None
    assert back.condition.dtype == np.float32
    np.testing.assert_array_equal(back.condition, condition)
    np.testing.assert_array_equal(back.image, image)
    bits = bits_of(model, variables, image, condition)
    assert figures["model_bits_per_dim"] * image.size == pytest.approx(bits, rel=1e-5)
    assert bits != pytest.approx(bits_of(model, variables, image, -condition), rel=1e-3)
    with pytest.raises(UsageError, match=r"conditional on (vectors|maps): give them as condition"):
        codec.compress(model, variables, image)
    with pytest.raises(UsageError, match="wants a condition of shape"):
        codec.compress(model, variables, image, condition[:4])


def test_wrong_images_are_refused(made):
    model, variables, image, _ = made
    for wrong in (image[:0], image[:, :2]):
        with pytest.raises(
            UsageError, match=re.escape(f"images uint8[b, 3, 4, 3] with b at least 1, got uint8{[*wrong.shape]}")
        ):
            codec.compress(model, variables, wrong)
    with pytest.raises(UsageError, match="wanted values below 4, the model's levels, got 9"):
        codec.compress(model, variables, np.full_like(image, 9))
    with pytest.raises(UsageError, match="batch must be at least 1, got 0"):
        codec.compress(model, variables, image, batch=0)
    with pytest.raises(UsageError, match="unconditional"):
        codec.compress(model, variables, image, np.zeros(5, np.int32))
    with pytest.raises(UsageError, match="no probabilities"):
        codec.compress(model, jax.tree.map(lambda a: a * jnp.nan, variables), image)


def test_the_header_is_json_and_the_package_is_asked_for(made, monkeypatch):
    model, variables, image, data = made
    size = int.from_bytes(data[40:44], "little")
    assert json.loads(data[44 : 44 + size]) == codec.header(data)
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(UsageError, match=r"pip install 'jaxgen\[codec\]'"):
        codec.compress(model, variables, image)


# --- the benchmark -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "channels"), [(2, 1), (4, 1), (16, 1), (17, 1), (256, 1), (256, 3)])
def test_the_benchmark_is_fair_to_pictures(levels, channels):
    """Its PNG and WebP files hold the very values, in as few bits as the formats have for so many levels."""
    path = ROOT / "experiments" / "benchmarks" / "codec.py"
    spec = importlib.util.spec_from_file_location("codec_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    image = np.random.default_rng(0).integers(0, levels, (7, 5, 40, channels)).astype(np.uint8)
    whole = benchmark.tiled(image)
    rows, columns = whole.shape[0] // 5, whole.shape[1] // 40
    parts = whole.reshape(rows, 5, columns, 40, channels).swapaxes(1, 2).reshape(-1, 5, 40, channels)
    np.testing.assert_array_equal(parts[:7], image)
    assert not parts[7:].any()
    large = np.random.default_rng(0).integers(0, levels, (80, 80, channels)).astype(np.uint8)
    for data in (benchmark.png(large, levels), benchmark.webp(large)):
        assert len(data) < 1.1 * large.size * np.ceil(np.log2(levels)) / 8 + 200 or levels == 17
        picture = Image.open(io.BytesIO(data))
        value = np.asarray(picture.convert("RGB")) if data[:4] == b"RIFF" or channels == 3 else np.asarray(picture)
        np.testing.assert_array_equal(value.reshape(80, 80, -1)[..., :channels], large)
