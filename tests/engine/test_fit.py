"""The one train step: the same run by every route, each objective within its own parameters, and honest failure."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.runs import EIGHT, ONE, Log, assert_close, assert_equal, plain
from helpers.stand_ins import LEVELS, SHAPE, Duel, Noisy, Table, dataset, jitter, recipe

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Objective
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.feed import make_feed
from jaxgen.engine.fit import fit
from jaxgen.engine.gradient import Layout
from jaxgen.engine.jaxprs import convolves
from jaxgen.engine.programs import Programs, microbatches
from jaxgen.engine.state import averaged, init_state, key_named
from jaxgen.engine.step import make_step


@pytest.mark.parametrize("model", [Noisy(), Table(), Duel(critic_every=2)], ids=lambda m: type(m).__name__)
def test_the_mesh_equals_one_device(model):
    """Ten SGD steps with augmentation, dropout and batch norm; draws belong to the global batch."""
    data = dataset(transform=jitter)
    knobs = recipe(model, data, ema=0.9, clip=1.0)
    one, eight = fit(knobs, data, mesh=ONE), fit(knobs, data, mesh=EIGHT)
    assert_close(one.state, eight.state)
    assert one.state.step == 10
    moved = init_state(knobs, {"image": data.train.image[:16]}, jitter).variables["params"]
    assert not np.allclose(jax.tree.leaves(moved)[0], jax.tree.leaves(one.state.variables["params"])[0], atol=1e-3)


@pytest.mark.parametrize("mesh", [ONE, EIGHT], ids=["one device", "eight"])
def test_a_run_can_begin_with_given_variables(mesh, tmp_path):
    """With those that it would have begun with anyway it is the same run, bit for bit; with others they are its
    parameters, its averages and its statistics. Once it has a checkpoint of its own it goes on from there."""
    data = dataset(transform=jitter)
    knobs = recipe(Noisy(), data, ema=0.9, clip=1.0, steps=4, optimizer=optax.adam(1e-2))
    own = jax.jit(lambda batch: init_state(knobs, batch, jitter))({"image": data.train.image[:16]}).variables
    at_once = fit(knobs, data, mesh=mesh)
    assert_equal(fit(knobs, data, tmp_path, mesh=mesh, start=own).state, at_once.state)
    given = at_once.state.variables
    still = fit(dataclasses.replace(knobs, optimizer=optax.sgd(0.0)), data, mesh=mesh, start=given).state
    assert_equal(still.variables["params"], given["params"])
    assert_close(still.ema["params"], given["params"])
    moved = still.variables["batch_stats"]["mean"] - given["batch_stats"]["mean"]
    assert 0 < np.abs(moved).max() < np.abs(given["batch_stats"]["mean"]).max()
    longer = dataclasses.replace(knobs, steps=8)
    assert_equal(fit(longer, data, tmp_path, mesh=mesh, start=given).state, fit(longer, data, mesh=mesh).state)


def test_another_models_variables_are_refused():
    data = dataset()
    knobs = recipe(Noisy(), data)
    with pytest.raises(UsageError, match=r"does not fit its Noisy: 'batch_stats/mean' is \[4\] there and \[8\]"):
        fit(knobs, data, mesh=ONE, start=Noisy(width=4).init(jax.random.key(0), {}))
    with pytest.raises(UsageError, match="'batch_stats/mean' is absent there"):
        fit(knobs, data, mesh=ONE, start=Table().init(jax.random.key(0), {}))


def test_pmap_equals_one_device_without_draws():
    data = dataset()
    assert_close(
        fit(recipe(Table(), data), data, mesh=ONE).state,
        fit(recipe(Table(), data, parallel="pmap"), data, mesh=EIGHT).state,
    )


def test_pmap_draws_by_device_and_averages_running_statistics():
    """With draws pmap is another run: what one device does with its own key and share, averaged over devices."""
    data = dataset(transform=jitter)
    knobs = recipe(Noisy(drop=0.5), data, steps=1, parallel="pmap")
    mapped = fit(knobs, data, mesh=EIGHT).state
    image, rows = data.train.image, np.argsort(np.random.Philox(key=[0, 0]).random_raw(96), kind="stable")[:16]
    start = init_state(knobs, {"image": image[:16], "label": data.train.label[:16]}, jitter)

    model = knobs.model

    @jax.jit
    def alone(device, image):
        key = jax.random.fold_in(jax.random.fold_in(start.key, 0), device)
        batch = jitter({"image": image}, key_named(key, "transform"), True)
        loss = lambda p: model.loss({**start.variables, "params": p}, batch, key_named(key, "objective/both"))  # noqa: E731
        grad, aux = jax.grad(loss, has_aux=True)(start.variables["params"])
        return grad, aux.updates["batch_stats"]

    grads, stats = zip(*(alone(device, image[rows[2 * device : 2 * device + 2]]) for device in range(8)))
    mean = lambda trees: jax.tree.map(lambda *x: jnp.stack(x).mean(0), *trees)  # noqa: E731
    wanted = jax.tree.map(lambda p, g: p - 0.1 * g, start.variables["params"], mean(grads))
    assert_close(wanted, mapped.variables["params"])
    assert_close(mean(stats), mapped.variables["batch_stats"])
    together = fit(dataclasses.replace(knobs, parallel="jit"), data, mesh=EIGHT).state
    assert not np.allclose(together.variables["params"]["net"]["conv"], mapped.variables["params"]["net"]["conv"])


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_a_chunk_of_steps_equals_single_steps(parallel):
    data = dataset(transform=jitter)
    single = recipe(Noisy(), data, steps=11, ema=0.9, parallel=parallel, optimizer=optax.adam(1e-2))
    chunked = dataclasses.replace(single, chunk=5)
    assert_close(fit(single, data, mesh=EIGHT).state, fit(chunked, data, mesh=EIGHT).state, 2e-6)


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
@pytest.mark.parametrize("chunk", [None, 4])
def test_streamed_data_equal_resident_data(chunk, parallel):
    data = dataset(transform=jitter)
    knobs = recipe(Noisy(), data, chunk=chunk, parallel=parallel)
    assert_equal(fit(knobs, data, budget=None).state, fit(knobs, data, budget=0).state)


@pytest.mark.parametrize("loops", [True, False])
def test_accumulation_gives_the_same_gradient(loops):
    data = dataset()
    whole, several = (recipe(Table(), data, accumulate=n) for n in (1, 4))
    batch = {"image": jnp.asarray(data.train.image[:16])}
    start = init_state(whole, batch)
    a, metrics = jax.jit(make_step(whole))(start, batch)
    b, in_pieces = jax.jit(make_step(several, layout=Layout(unrolled=not loops)))(start, batch)
    assert_close(a, b)
    assert metrics.keys() == in_pieces.keys()
    np.testing.assert_allclose(metrics["nats"], in_pieces["nats"], rtol=1e-6)


def test_accumulation_over_the_mesh_equals_one_device():
    data = dataset(transform=jitter)
    exact = recipe(Table(), data, accumulate=2)
    assert_close(fit(exact, data).state, fit(dataclasses.replace(exact, accumulate=1), data).state)


def test_a_mean_over_independent_examples_may_be_taken_in_pieces_though_it_is_not_called_separable():
    class Independent(Table):
        def objectives(self):
            return (Objective("likelihood", self.loss, ("table",), examples="independent"),)

    data = dataset()
    whole, pieces = (fit(recipe(Independent(), data, accumulate=n), data) for n in (1, 2))
    assert_close(whole.state, pieces.state)


def test_pieces_that_fit_the_cache_are_chosen_on_a_cpu_only_where_that_changes_nothing():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Cached(Table):
        separable: bool = True

        def objectives(self):
            return (
                Objective(
                    "likelihood",
                    self.loss,
                    ("table",),
                    examples="separable" if self.separable else "mixed",
                    microbatch=2,
                ),
            )

    data = dataset()
    knobs = recipe(Cached(), data, batch=32)
    assert microbatches(knobs, ONE) == (16,)
    assert microbatches(knobs, EIGHT) == (2,)
    assert microbatches(recipe(Cached(), data, batch=15), ONE) == (1,)
    assert microbatches(recipe(Cached(separable=False), data), ONE) == (1,)
    assert microbatches(recipe(Cached(), data, accumulate=1), ONE) == (1,)
    assert microbatches(recipe(Duel(), data, accumulate=2), ONE) == (2, 2)
    assert_close(fit(knobs, data, mesh=ONE).state, fit(recipe(Table(), data, batch=32), data, mesh=ONE).state)


def test_each_objective_moves_only_its_own_parameters():
    data = dataset()
    knobs = recipe(Duel(critic_every=3), data)
    batch = {"image": jnp.asarray(data.train.image[:16])}
    step, state = jax.jit(make_step(knobs)), init_state(knobs, batch)
    for t in range(4):
        before = plain(state.variables["params"])
        state, metrics = step(state, batch)
        after = plain(state.variables["params"])
        moved = {name for name in before if not np.array_equal(before[name], after[name])}
        acted = t % 3 == 0
        assert moved == {"['generator']['w']"} | ({"['critic']['w']", "['critic']['b']"} if acted else set())
        assert np.isfinite(metrics["critic/loss"]) == acted
        assert np.isfinite(metrics["generator/loss"])


def test_objectives_act_in_order_each_with_its_own_optimizer():
    """The generator (own SGD, rate 0.5) sees the critic that has just moved (the recipe's SGD, rate 0.1)."""
    data, model = dataset(), Duel()
    knobs = recipe(model, data)
    batch = {"image": jnp.asarray(data.train.image[:16])}
    start = init_state(knobs, batch)
    key, params = jax.random.fold_in(start.key, 0), start.variables["params"]
    loss = lambda f, p, name: f({"params": p}, batch, key_named(key, f"objective/{name}"))[0]  # noqa: E731
    grad = jax.grad(lambda own: loss(model.critic_loss, {**params, "critic": own}, "critic"))(params["critic"])
    critic = jax.tree.map(lambda p, g: p - 0.1 * g, params["critic"], grad)
    grad = jax.grad(lambda own: loss(model.generator_loss, {"generator": own, "critic": critic}, "generator"))(
        params["generator"]
    )
    generator = jax.tree.map(lambda p, g: p - 0.5 * g, params["generator"], grad)
    state, _ = jax.jit(make_step(knobs))(start, batch)
    assert_close({"generator": generator, "critic": critic}, state.variables["params"])


def test_a_resting_objective_is_the_same_inside_and_outside_of_the_program():
    data = dataset()
    knobs = recipe(Duel(critic_every=2), data, steps=9)
    assert_close(fit(knobs, data).state, fit(dataclasses.replace(knobs, chunk=3), data).state)


def test_clipping_bounds_the_global_norm():
    data = dataset()
    batch = {"image": jnp.asarray(data.train.image[:16])}
    start = init_state(recipe(Table(), data), batch)
    free, metrics = make_step(recipe(Table(), data))(start, batch)
    clipped, same = make_step(recipe(Table(), data, clip=0.25))(start, batch)
    move = lambda s: np.asarray(s.variables["params"]["table"] - start.variables["params"]["table"])  # noqa: E731
    norm = float(metrics["grad_norm"])
    assert norm > 0.25
    assert float(same["grad_norm"]) == pytest.approx(norm)
    np.testing.assert_allclose(move(clipped), move(free) * 0.25 / norm, atol=1e-7)
    loose, _ = make_step(recipe(Table(), data, clip=1e3))(start, batch)
    np.testing.assert_allclose(move(loose), move(free), atol=1e-7)


def test_averaged_parameters_follow_their_recurrence():
    data = dataset()
    knobs = recipe(Table(), data, ema=0.5, steps=1)
    batch = {"image": jnp.asarray(data.train.image[:16])}
    state = init_state(knobs, batch)
    step, wanted = jax.jit(make_step(knobs)), np.asarray(state.variables["params"]["table"], np.float64)
    for t in range(12):
        state, _ = step(state, batch)
        decay = min(0.5, (1 + t) / (10 + t))
        wanted = decay * wanted + (1 - decay) * np.asarray(state.variables["params"]["table"], np.float64)
    np.testing.assert_allclose(averaged(state)["params"]["table"], wanted, atol=1e-6)
    assert averaged(dataclasses.replace(state, ema=None)) is state.variables


@pytest.mark.parametrize("chunk", [None, 4])
def test_the_reporter_hears_everything_in_order(tmp_path, chunk):
    data = dataset()
    log = Log()
    knobs = recipe(Table(), data, steps=10, evaluate_every=4, save_every=8, samples=6, chunk=chunk)
    outcome = fit(knobs, data, tmp_path, reporter=log)
    assert log.events[0] == ("started", 0, 10)
    assert log.events[-1] == ("finished", 10)
    assert log.of("progress") == ([4, 8, 9, 10] if chunk else list(range(1, 11)))
    scored = [e[1:] for e in log.events if e[0] == "evaluated"]
    assert scored == [(4, "valid"), (8, "valid"), (10, "valid"), (10, "test")]
    assert log.of("sampled") == [4, 8, 10]
    assert log.of("saved") == [4, 8, 10]  # 4 and 10 because they were better
    image = next(e[2] for e in log.events if e[0] == "sampled")
    assert image.shape == (6, *SHAPE)
    assert image.dtype == np.uint8
    assert image.max() < LEVELS
    assert outcome.best_step == 10
    figures = ("nats", "bits_per_dim", "nats_stderr", "bits_per_dim_stderr")
    assert set(outcome.metrics) == {f"{s}/{m}" for s in ("valid", "test") for m in figures}


def test_metrics_of_a_chunk_are_means_over_the_steps_that_acted():
    data = dataset()
    singles, chunks = Log(), Log()
    knobs = recipe(Duel(critic_every=2), data, steps=8)
    fit(knobs, data, reporter=singles)
    fit(dataclasses.replace(knobs, chunk=8), data, reporter=chunks)
    each = [e[2] for e in singles.events if e[0] == "progress"]
    (whole,) = [e[2] for e in chunks.events if e[0] == "progress"]
    for name in whole:
        assert whole[name] == pytest.approx(np.mean([m[name] for m in each if name in m]), rel=1e-5)
    assert [("critic/loss" in m) for m in each] == [True, False] * 4


def test_patience_ends_the_run_and_test_is_read_with_the_best(tmp_path):
    """At this rate the table overshoots: validation is best early on and the run ends before its steps."""
    data = dataset(n=16)
    knobs = recipe(Table(), data, steps=4000, batch=16, evaluate_every=20, patience=3, optimizer=optax.sgd(5.0))
    log = Log()
    outcome = fit(knobs, data, tmp_path, reporter=log)
    assert outcome.step == outcome.best_step + 60 < 4000
    assert not outcome.stopped
    assert [e[1:] for e in log.events if e[0] == "evaluated"][-1] == (outcome.best_step, "test")
    in_memory = fit(knobs, data)
    assert in_memory.metrics == outcome.metrics
    again = fit(knobs, data, tmp_path)
    assert (again.step, again.metrics["test/nats"]) == (outcome.step, outcome.metrics["test/nats"])


def test_of_equal_scores_the_first_is_kept_and_tested(tmp_path):
    """Parameters that do not move score the same at every evaluation."""
    data = dataset()
    knobs = recipe(Table(), data, steps=12, evaluate_every=2, save_every=2, keep=2, optimizer=optax.sgd(0.0))
    outcome = fit(knobs, data, tmp_path)
    assert outcome.best_step == 2
    assert outcome.metrics["test/nats"] == fit(knobs, data).metrics["test/nats"]


@pytest.mark.parametrize("devices", [1, 8])
def test_a_finished_run_can_be_tested_again(tmp_path, devices):
    """As after a kill between the last step and the test: the best checkpoint is read beside the last."""
    data, mesh = dataset(n=16), make_mesh(jax.devices()[:devices])
    knobs = recipe(Table(), data, steps=4000, batch=16, evaluate_every=20, patience=3, optimizer=optax.sgd(5.0))
    first, again = (fit(knobs, data, tmp_path, mesh=mesh) for _ in range(2))
    assert again.best_step == first.best_step < first.step
    assert again.metrics["test/nats"] == first.metrics["test/nats"]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"batch": 12}, "batch must be a positive multiple of the 8 devices.*got 12: use batch 16"),
        ({"batch": 104}, "batch 104 is larger than the 96 training examples"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"ema": 1.0}, "ema must be"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"accumulate": 3}, "accumulate must divide the 2 images"),
        ({"accumulate": 2, "model": Noisy()}, "accumulate must be 1 for Noisy, got 2: its objective 'both' is no mean"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"model": Table(levels=3)}, "Table is made for images .* with 3 levels, but 'stand-in' has .* with 5"),
        ({"model": Duel(), "patience": 2}, "patience needs a figure.*and Duel has none"),
    ],
)
def test_bad_recipes_are_refused_before_anything_is_written(tmp_path, knobs, message):
    data = dataset()
    knobs = {"model": Table()} | knobs
    with pytest.raises(UsageError, match=message):
        fit(recipe(knobs.pop("model"), data, **knobs), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_objective_that_trains_what_is_not_there_is_refused():
    class Lost(Table):
        def objectives(self):
            return (Objective("likelihood", self.loss, ("tabel",)),)

    data = dataset()
    with pytest.raises(UsageError, match="objective 'likelihood' trains 'tabel', but the parameters are: table"):
        fit(recipe(Lost(), data), data)


def test_a_folder_that_holds_another_run_is_refused(tmp_path):
    data = dataset()
    fit(recipe(Table(), data), data, tmp_path)
    with pytest.raises(UsageError, match="already holds a run"):
        fit(recipe(Table(), data), data, tmp_path, resume=False)
    with pytest.raises(UsageError, match="saved by another model"):
        fit(recipe(Noisy(), data, steps=20), data, tmp_path)


def test_no_loop_around_convolutions_on_a_cpu():
    """XLA-CPU runs gradient convolutions inside loops and conditionals many times slower."""
    conv = lambda x: jax.lax.conv(x, jnp.ones((1, 1, 2, 2)), (1, 1), "SAME")  # noqa: E731
    x = jnp.ones((1, 1, 4, 4))
    assert convolves(jax.jit(conv), x)
    assert convolves(lambda x: jax.lax.scan(lambda c, _: (conv(c), None), x, None, length=2), x)
    assert convolves(lambda x: jax.lax.cond(x.sum() > 0, conv, lambda x: x, x), x)
    assert convolves(jax.grad(jax.checkpoint(lambda x: conv(x).sum())), x)
    assert not convolves(lambda x: x @ x, x)

    def loops(model, **knobs):
        data = dataset()
        knobs = recipe(model, data, **knobs)
        feed = make_feed({"image": data.train.image}, ONE, seed=0, batch=16)
        start = init_state(knobs, {"image": jnp.asarray(data.train.image[:16])})
        program = Programs(knobs, data, ONE, feed, start)._make(1, (True,) * len(model.objectives()))
        text = str(jax.make_jaxpr(program)(start, feed.resident, feed.get(0, 1)))
        return " scan[" in text or " cond[" in text

    assert loops(Table(), accumulate=2)
    assert not loops(Noisy(drop=0.0), accumulate=2)
    assert not loops(Duel(critic_every=2))
