"""Damaged checkpoints: whatever happens to any file is said in one sentence or does no harm, and the others remain."""

import dataclasses
import functools
import shutil
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.damage import flipped
from helpers.runs import assert_equal
from helpers.stand_ins import Table, dataset, recipe

from jaxgen.core.errors import UsageError
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.checkpoint.digest import digests
from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded
from jaxgen.engine.fit import fit

BEST = "bits_per_dim"
EIGHT = make_mesh()
EVERYWHERE, SHARED = replicated(EIGHT), sharded(EIGHT)


def state(seed=0):
    """All kinds of leaves: keys, scalars, bytes, halves, bools, nothing."""
    draw = np.random.default_rng(seed)
    params = {
        "w": draw.normal(size=(64, 48)).astype(np.float32),
        "half": jnp.asarray(draw.normal(size=7), jnp.bfloat16),
    }
    counts = {"bytes": draw.integers(0, 256, 5, np.uint8), "flags": draw.random(9) < 0.5, "step": np.int32(seed)}
    made = {
        "variables": {"params": params, "counts": counts},
        "ema": {"params": jax.tree.map(lambda x: x + 1, params)},
        "key": jax.random.split(jax.random.key(seed)),
        "none": None,
    }
    return jax.device_put(made, EVERYWHERE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints, of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved")
    with Checkpoints(folder, best=BEST) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
            checkpoints.record(step, {BEST: 3.0 - step})
    return folder


def copied(saved, tmp_path):
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    return folder


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def removed(file):
    file.unlink()


def refused(read, folder, way):
    """What `read` gives, or None where it is refused with one clear sentence about checkpoint 2."""
    try:
        return read()
    except UsageError as error:
        message = str(error)
        assert message.startswith(f"checkpoint {folder / '2'} is damaged: ")
        assert message.endswith(way)
        assert "\n" not in message
        assert len(message.replace(str(folder), "")) < 400
        return None


@pytest.mark.parametrize("damage", [flipped, cut, removed])
def test_damage_to_any_file_is_said_or_does_no_harm(saved, tmp_path, damage, capfd):
    two, actual = state(2), {}
    for file in sorted(p.relative_to(saved) for p in (saved / "2").rglob("*") if p.is_file()):
        folder = copied(saved, tmp_path)
        damage(folder / file)
        with Checkpoints(folder, best=BEST, write=False) as checkpoints:
            assert checkpoints.steps == (1, 2)
            back = refused(lambda: checkpoints.restore(two), folder, "There is that of step 1: --step 1.")
            actual[file.as_posix()] = back is not None
            if back is not None:
                assert_equal(back, two)
            if "state" in file.parts:
                variables = refused(checkpoints.variables, folder, "There is that of step 1: --step 1.")
                if variables is not None:
                    assert_equal(variables, {**two["variables"], **two["ema"]})
    with Checkpoints(folder, best=BEST, write=False) as checkpoints:
        assert_equal(checkpoints.restore(two, 1), state(1))
    assert capfd.readouterr().err == ""  # no pages of traceback beside the sentence
    data = [name for name in actual if "/state/ocdbt.process_0/d/" in name]
    assert data
    assert not any(actual[name] for name in data), "the very numbers were changed"
    assert actual["2/_CHECKPOINT_METADATA"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: shutil.rmtree(folder / "state"),
        lambda folder: shutil.rmtree(folder / "meta"),
        lambda folder: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in folder.iterdir()],
        lambda folder: [p.write_bytes(b"") for p in folder.rglob("*") if p.is_file()],
    ],
    ids=["no state", "no meta", "empty folder", "empty files"],
)
def test_who_goes_on_is_told_what_to_remove(saved, tmp_path, damage, capfd):
    folder = copied(saved, tmp_path)
    damage(folder / "2")

    def resumed():
        with Checkpoints(folder, best=BEST) as checkpoints:
            return checkpoints.restore(state())

    assert refused(resumed, folder, f"Remove {folder / '2'} to go on from step 1.") is None
    shutil.rmtree(folder / "2")
    assert_equal(resumed(), state(1))
    shutil.rmtree(folder / "1" / "state")
    with pytest.raises(UsageError, match=f"There is no other; remove {folder / '1'} to start over"):
        resumed()
    assert capfd.readouterr().err == ""


def test_reads_that_end_after_the_damage_was_said_are_kept_quiet(saved, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    folder = copied(saved, tmp_path)
    shutil.rmtree(folder / "2" / "state")
    for _ in range(2):
        with Checkpoints(folder, best=BEST, write=False) as checkpoints, pytest.raises(UsageError, match="is damaged"):
            checkpoints.restore(state())
        for text in ("Event loop is closed", "anything else"):
            sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError(text)))
    assert [str(unraisable.exc_value) for unraisable in heard] == ["anything else"] * 2


def test_a_changed_number_is_named(saved, tmp_path):
    """The record says what was saved: where it speaks of other numbers, the leaf that differs is named."""
    folder = copied(saved, tmp_path)
    changed = state(2)
    changed["variables"]["params"]["w"] = changed["variables"]["params"]["w"].at[3, 5].multiply(1 + 2**-23)
    with Checkpoints(folder, keep=3) as checkpoints:
        checkpoints.save(3, changed)
    shutil.rmtree(folder / "2" / "state")
    shutil.copytree(folder / "3" / "state", folder / "2" / "state")
    with Checkpoints(folder, write=False) as checkpoints:
        for read in (checkpoints.variables, functools.partial(checkpoints.restore, state())):
            with pytest.raises(UsageError, match=r"leaf 'variables/params/w' is not what was saved\. .* --step 1"):
                read(step=2)


# --- digests -------------------------------------------------------------------------------------------------------


def by_hand(x):
    """The digest by its definition, in Python's integers."""
    words = {1: np.uint8, 2: np.uint16}.get(x.dtype.itemsize, np.uint32)
    total = 0
    for i, word in enumerate(np.ascontiguousarray(x).reshape(-1).view(words).tolist()):
        h = i
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ (h >> shift)) * factor % 2**32
        total += word * (2 * (h ^ (h >> 16)) + 1)
    return total % 2**32


@pytest.mark.parametrize(
    "dtype",
    ["float32", "int32", "uint32", "bfloat16", "float16", "int8", "uint8", "bool", "float8_e4m3fn", "complex64"],
)
def test_digests_are_those_of_the_definition_however_an_array_lies(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3, 2)) * 3).astype(dtype)
    wanted = by_hand(np.asarray(x))
    assert digests({"x": np.asarray(x)}) == {"x": wanted}
    for where in (EVERYWHERE, SHARED, replicated(make_mesh(jax.devices()[3:4])), sharded(EIGHT, 0)):
        assert digests({"x": jax.device_put(x, where)}) == {"x": wanted}
    scalar = jax.device_put(x[0, 0, 0], EVERYWHERE)
    assert digests((scalar, jnp.zeros((0, 4), x.dtype))) == {"0": by_hand(np.asarray(scalar)[None]), "1": 0}


def test_doubles_are_two_words():
    with jax.enable_x64(True):
        x = jax.device_put(np.random.default_rng(0).normal(size=(3, 5)), EVERYWHERE)
        assert x.dtype == jnp.float64
        assert digests({"x": x}) == {"x": by_hand(np.asarray(x))}


def test_keys_are_digested_by_their_data():
    keys = jax.device_put(jax.random.split(jax.random.key(3), 4), EVERYWHERE)
    assert digests([keys]) == {"0": by_hand(np.asarray(jax.random.key_data(keys)))}


def test_any_changed_bit_shows():
    x = np.random.default_rng(0).normal(size=40).astype(np.float32)
    before = digests([x])["0"]
    for bit in range(0, 32 * len(x), 7):
        words = x.copy()
        words.view(np.uint32)[bit // 32] ^= np.uint32(1 << bit % 32)
        assert digests([words])["0"] != before
    swapped = x.copy()
    swapped[[3, 17]] = x[[17, 3]]
    assert digests([swapped])["0"] != before


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before_to_the_same_end(tmp_path):
    data = dataset(n=64, shape=(8, 8, 1), levels=64)
    knobs = recipe(
        Table(shape=data.shape, levels=64),
        data,
        steps=8,
        save_every=4,
        evaluate_every=6,
        ema=0.9,
        optimizer=optax.adam(1e-2),
    )
    fit(knobs, data, tmp_path)
    knobs = dataclasses.replace(knobs, steps=12)
    (file,) = (p for p in (tmp_path / "checkpoints" / "8" / "state" / "ocdbt.process_0" / "d").iterdir())
    flipped(file)
    folder = tmp_path / "checkpoints" / "8"
    with pytest.raises(UsageError, match=f"{folder} is damaged: .* Remove {folder} to go on from step 6"):
        fit(knobs, data, tmp_path)
    shutil.rmtree(folder)
    assert_equal(fit(knobs, data, tmp_path).state, fit(knobs, data).state)
