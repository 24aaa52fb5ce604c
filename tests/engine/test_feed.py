"""Batches are a pure function of (seed, step), and both feeds give the same ones."""

import threading

import jax
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import permutation
from jaxgen.engine.devices.mesh import make_mesh, sharded
from jaxgen.engine.feed import Resident, Streamed, indices, make_feed

MESH = make_mesh()


def test_an_epoch_is_every_example_once():
    steps = [indices(3, step, 8, 32) for step in range(8)]
    first, second = np.concatenate(steps[:4]), np.concatenate(steps[4:])
    assert sorted(first) == sorted(second) == list(range(32))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, permutation(32, 3, 0))


def test_an_epoch_is_whole_batches():
    rows = np.concatenate([indices(0, step, 8, 21) for step in range(2)])
    assert len(set(rows)) == 16
    np.testing.assert_array_equal(indices(0, 2, 8, 21), permutation(21, 0, 1)[:8])


def test_the_order_is_the_same_on_every_machine_and_version():
    """Fixed numbers: a run begun today is resumed bit for bit by the versions of tomorrow."""
    assert permutation(10, 0, 0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert indices(0, 7, 6, 1000, replacement=True).tolist() == [662, 773, 664, 290, 312, 484]


def test_seeds_and_steps_differ_and_repeat():
    for replacement in (False, True):
        draw = lambda seed, step, r=replacement: indices(seed, step, 16, 64, r).tolist()  # noqa: E731
        assert draw(1, 5) == draw(1, 5)
        assert len({tuple(draw(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_draws_with_replacement_are_uniform_and_may_exceed_the_data():
    rows = np.concatenate([indices(0, step, 1000, 10, replacement=True) for step in range(20)])
    counts = np.bincount(rows, minlength=10)
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
    with pytest.raises(UsageError, match="batch 12 is larger than the 10 training examples"):
        indices(0, 0, 12, 10)


@pytest.mark.parametrize("lanes", [None, 8])
@pytest.mark.parametrize("replacement", [False, True])
def test_streamed_equals_resident(lanes, replacement):
    draw = np.random.RandomState(0)
    data = {"image": draw.randint(0, 256, (50, 2, 2, 1)).astype(np.uint8), "label": np.arange(50, dtype=np.int32)}
    knobs = {"seed": 4, "batch": 16, "replacement": replacement, "lanes": lanes}
    here, there = make_feed(data, MESH, **knobs), make_feed(data, MESH, **knobs, budget=100)
    assert isinstance(here, Resident)
    assert isinstance(there, Streamed)
    pieces = [(0, 2), (2, 1), (3, 4), (7, 2), (63, 1), (64, 1), (2, 1)]
    there.schedule(iter(pieces))
    for step, count in pieces:
        a, b = here.get(step, count), there.get(step, count)
        assert b["image"].sharding.is_equivalent_to(sharded(MESH, 1), b["image"].ndim)
        for i in range(count):
            if count == 1:
                want, got = here.batch_at(here.resident, a, step), there.batch_at(there.resident, b, step)
            else:
                want = here.batch_of(here.resident, np.asarray(a)[i])
                got = there.batch_of(there.resident, jax.tree.map(lambda x, i=i: x[i], b))
            rows = indices(4, step + i, 16, 50, replacement)
            for name in data:
                np.testing.assert_array_equal(want[name], got[name])
                np.testing.assert_array_equal(
                    np.asarray(got[name]).reshape(16, *data[name].shape[1:]), data[name][rows]
                )
    there.close()


def test_blocks_are_prepared_ahead_by_one_thread():
    class Slow(dict):
        threads: list = []

        def items(self):
            self.threads.append(threading.current_thread())
            return super().items()

    feed = make_feed({"image": np.zeros((32, 1, 1, 1), np.uint8)}, MESH, seed=0, batch=8, budget=0)
    feed.data = Slow(feed.data)
    feed.schedule(iter([(step, 1) for step in range(5 * feed.window)]))
    feed.worker.submit(lambda: None).result()
    assert len(Slow.threads) == 2  # two blocks lie ready before the first is asked for
    for step in range(feed.window):  # single steps share a block
        feed.get(step, 1)
    feed.worker.submit(lambda: None).result()
    assert len(Slow.threads) == 3
    assert len(set(Slow.threads)) == 1
    assert threading.main_thread() not in Slow.threads
    feed.get(9, 2)  # what was not announced is made on demand
    feed.close()


def test_a_failure_while_preparing_reaches_the_caller():
    class Torn:
        nbytes, shape = 10, (32, 1, 1, 1)

        def __len__(self):
            return 32

        def __getitem__(self, rows):
            raise OSError("the file is gone")

    feed = make_feed({"image": Torn()}, MESH, seed=0, batch=8, budget=0)
    feed.schedule(iter([(0, 1)]))
    with pytest.raises(OSError, match="the file is gone"):
        feed.get(0, 1)
    feed.close()
