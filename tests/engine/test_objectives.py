"""What objectives, judges and averages are allowed beyond a loss: each does what it says, and resumes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.runs import EIGHT, Log, assert_equal
from helpers.stand_ins import LEVELS, Duel, Noisy, Table, dataset, jitter, recipe

from jaxgen.core.capabilities import Scored
from jaxgen.core.errors import UsageError
from jaxgen.core.judges import Judge
from jaxgen.core.model import Aux, Objective
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.deciding import deciding
from jaxgen.engine.fit import fit
from jaxgen.engine.state import averaged, init_state, part_of
from jaxgen.metrics.histogram import PixelHistogram, histogram, total_variation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clipped(Table):
    """Weights clipped behind each step, a slow copy of them beside; a second objective for some steps only."""

    def init(self, key, batch):
        params = super().init(key, batch)["params"]
        return {"params": {**params, "late": jnp.zeros(())}, "target": {"table": params["table"]}}

    def after(self, variables, batch, key):
        table = jnp.clip(variables["params"]["table"], -0.5, 0.5)
        slow = 0.9 * variables["target"]["table"] + 0.1 * table
        return {**variables, "params": {**variables["params"], "table": table}, "target": {"table": slow}}

    def late(self, variables, batch, key):
        return variables["params"]["late"], Aux({})

    def objectives(self):
        return (
            Objective("likelihood", self.loss, ("table",), examples="separable", after=self.after),
            Objective("late", self.late, ("late",), optimizer=optax.sgd(1.0), begin=3, end=7),
        )


@pytest.mark.parametrize("chunk", [None, 5])
def test_what_acts_behind_a_step_and_between_two_steps(chunk, tmp_path):
    data = dataset()
    knobs = recipe(Clipped(), data, chunk=chunk, save_every=5)
    state = fit(knobs, data, mesh=EIGHT).state
    table, target = state.variables["params"]["table"], state.variables["target"]["table"]
    assert float(jnp.abs(table).max()) == pytest.approx(0.5)
    assert float(state.variables["params"]["late"]) == -4.0  # steps 3, 4, 5 and 6
    fresh = init_state(knobs, {"image": data.train.image[:16]}).variables["target"]["table"]
    assert 0.1 < np.linalg.norm(target - table) / np.linalg.norm(fresh - table) < 0.9
    looks = iter([False] * (1 if chunk else 4))
    parts = fit(knobs, data, tmp_path, mesh=EIGHT, stop=lambda: next(looks, True))
    assert parts.stopped
    assert_equal(fit(knobs, data, tmp_path, mesh=EIGHT).state, state)


@pytest.mark.parametrize("when", [{"every": 0}, {"begin": -1}, {"begin": 3, "end": 3}])
def test_an_objective_that_never_acts_is_refused(when):
    class Never(Table):
        def objectives(self):
            return (Objective("likelihood", self.loss, ("table",), **when),)

    with pytest.raises(UsageError, match=r"'likelihood' acts at every step.*which is never"):
        fit(recipe(Never()), dataset())


def test_updates_of_parameters_are_refused():
    class Sly(Table):
        def loss(self, variables, batch, key):
            value, aux = super().loss(variables, batch, key)
            return value, Aux(aux.metrics, {"params": variables["params"]})

    with pytest.raises(UsageError, match="gives updates of 'params', which its gradient moves"):
        fit(recipe(Sly()), dataset())


def test_the_average_covers_the_collections_that_a_model_names():
    class Averaging(Noisy):
        averaged = ("params", "batch_stats")

    data = dataset()
    state = fit(recipe(Averaging(), data, ema=0.5, steps=4), data).state
    assert state.ema.keys() == {"params", "batch_stats"}
    mean = averaged(state)["batch_stats"]["mean"]
    assert not np.allclose(mean, state.variables["batch_stats"]["mean"], atol=1e-4)
    assert fit(recipe(Noisy(), data, ema=0.5, steps=4), data).state.ema.keys() == {"params"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest(Judge):
    """Higher is better: minus the distance of mean images."""

    @property
    def figures(self):
        return {"closeness": "higher"}

    def judge(self, image, real, levels, condition):
        return {"closeness": -float(np.abs(image.mean(0) - real.mean(0)).mean())}


def test_judges_look_at_so_many_samples_and_decide(tmp_path):
    data, log = dataset(), Log()
    knobs = recipe(
        Duel(), data, steps=12, evaluate_every=3, judges=(Nearest(num=37), PixelHistogram(num=20)), samples=0
    )
    outcome = fit(knobs, data, tmp_path, reporter=log, mesh=EIGHT)
    told = [e for e in log.events if e[0] == "evaluated"]
    assert [e[1:3] for e in told] == [(step, "samples") for step in (3, 6, 9, 12)]
    assert deciding(knobs) == ("closeness", True, "samples")
    with Checkpoints(tmp_path / "checkpoints", best="closeness", higher=True, write=False) as checkpoints:
        scores = checkpoints.scores
        assert outcome.best_step == checkpoints.best == max(scores, key=scores.get)
    assert outcome.metrics["samples/closeness"] == scores[max(scores)]
    by_histogram = dataclasses.replace(knobs, best="histogram_distance")
    assert deciding(by_histogram) == ("histogram_distance", False, "samples")
    assert deciding(dataclasses.replace(knobs, better="lower")) == ("closeness", False, "samples")


def test_the_histogram_of_a_judge_is_the_images():
    image = np.array([0, 1, 1, 1], np.uint8).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(histogram(image, 3), [[0.25, 0.75, 0.0]])
    assert total_variation(histogram(image, 3), histogram(image[:, ::-1], 3)) == 0.0
    assert total_variation(histogram(0 * image, 3), histogram(0 * image + 2, 3)) == 1.0
    actual = PixelHistogram().judge(image, 0 * image, 3, None)
    assert actual == {"histogram_distance": pytest.approx(0.75)}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"best": "fid"}, "best='fid': Duel has no figures of its own"),
        ({"judges": (Nearest(), Nearest())}, "two judges give a figure called closeness"),
        ({"judges": (Nearest(),), "best": "closenes"}, "Did you mean 'closeness'"),
        ({"patience": 2}, "patience needs a figure"),
    ],
)
def test_a_figure_that_is_not_there_is_refused_before_the_first_step(knobs, message):
    with pytest.raises(UsageError, match=message):
        fit(recipe(Duel(), **knobs), dataset())


def test_a_name_that_no_score_has_is_said_with_those_that_there_are():
    with pytest.raises(UsageError, match="best='fid' is no figure of this run: there are bits_per_dim, nats\\."):
        fit(recipe(Table(), best="fid", steps=2), dataset())


def test_a_run_killed_between_its_save_and_its_evaluation_is_evaluated_when_it_goes_on(tmp_path, monkeypatch):
    """And is the run that was left alone, its best step included."""
    data = dataset(transform=jitter)
    knobs = recipe(Noisy(), data, steps=8, evaluate_every=4, save_every=4, samples=0)
    whole = fit(knobs, data, tmp_path / "whole")

    class Killed(Exception):
        pass

    class Killer(Log):
        def evaluated(self, step, split, metrics):
            raise Killed

    with pytest.raises(Killed):
        fit(knobs, data, tmp_path / "parts", reporter=Killer())
    with Checkpoints(tmp_path / "parts/checkpoints", write=False) as checkpoints:
        assert (checkpoints.steps, checkpoints.recorded) == ((4,), ())  # saved before it was evaluated
    log = Log()
    parts = fit(knobs, data, tmp_path / "parts", reporter=log)
    assert [e[1] for e in log.events if e[0] == "evaluated"] == [4, 8, 8]
    assert_equal(parts.state, whole.state)
    assert (parts.best_step, parts.metrics) == (whole.best_step, whole.metrics)


def test_losses_say_what_the_progress_line_shows_and_resting_ones_are_means_of_when_they_acted():
    class Loud(Duel):
        def critic_loss(self, variables, batch, key):
            value, _ = super().critic_loss(variables, batch, key)
            return value, Aux({"quiet": value}, shown={"p_real": value * 2})

    told = []

    class Ear(Log):
        def highlighted(self, names):
            told.append(set(names))

    log = Ear()
    fit(recipe(Loud(critic_every=3), steps=6), dataset(), reporter=log)
    assert told == [{"critic/p_real"}]


def test_what_a_model_shows_is_made_of_validation_examples():
    class Showing(Table):
        def shows(self, variables, batch, key):
            return {"brightness": batch["image"].mean(axis=(1, 2, 3))}

        def readable(self, name, shown):
            return [f"{name} {value:.2f}" for value in shown]

    heard = {}

    class Ear(Log):
        def shown(self, step, name, content):
            heard[step, name] = content

    data = dataset()
    fit(recipe(Showing(), data, steps=2, samples=3), data, reporter=Ear())
    assert heard == {(2, "brightness"): [f"brightness {x.mean():.2f}" for x in data.valid.image[:3]]}


def test_grafts_replace_parts_of_a_fresh_model_and_must_fit(tmp_path):
    class Frozen(Table):
        def init(self, key, batch):
            params = super().init(key, batch)["params"]
            return {"params": params, "frozen": {"table": jnp.zeros_like(params["table"])}}

    data, part = dataset(), jnp.ones((4, 4, 1, LEVELS))
    knobs = recipe(Frozen(), data, steps=2)
    state = fit(knobs, data, grafts={"frozen/table": part}).state
    np.testing.assert_array_equal(state.variables["frozen"]["table"], part)
    moved = fit(dataclasses.replace(knobs, optimizer=optax.sgd(0.0)), data, grafts={"params/table": part}).state
    np.testing.assert_array_equal(moved.variables["params"]["table"], part)
    with pytest.raises(UsageError, match=r"graft does not fit.*\[4, 4\] there and \[4, 4, 1, 5\] in the model"):
        fit(knobs, data, grafts={"frozen/table": jnp.ones((4, 4))})
    with pytest.raises(UsageError, match="has no 'frozen/net': frozen of it has table"):
        fit(knobs, data, grafts={"frozen/net": part})
    with pytest.raises(UsageError, match="an array"):
        part_of(state.variables, "frozen/table/deeper")


def test_scores_of_words_need_no_image():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Words(Scored):
        def init(self, key, batch):
            return {"params": {"bias": jnp.zeros(batch["words"].shape[1:])}}

        def scores(self, variables, batch, key):
            return {"loss": ((batch["words"] - variables["params"]["bias"]) ** 2).mean(-1)}

        def objectives(self):
            def loss(variables, batch, key):
                return self.scores(variables, batch, key)["loss"].mean(), Aux({})

            return (Objective("squares", loss, ("bias",), examples="separable"),)

    from jaxgen.data.dataset import Dataset, Split

    words = np.arange(60, dtype=np.int32).reshape(20, 3)
    data = Dataset("words", 0, Split(words=words), Split(words=words[:5]), Split(words=words[5:7]), "words")
    both = [fit(recipe(Words(), data, steps=300), data, mesh=mesh, budget=b) for mesh, b in ((None, None), (EIGHT, 0))]
    assert_equal(both[0].state, both[1].state)
    assert both[0].metrics["valid/loss"] == pytest.approx(float(((words[:5] - words.mean(0)) ** 2).mean()), rel=0.05)
    assert jax.tree.leaves(both[0].state.variables)[0].shape == (3,)
