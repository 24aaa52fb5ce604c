"""What the engine expects of a model, looked at before the first step: by shapes alone, so that nothing is computed.

A mistake that would show after an hour, or not at all, is one sentence with the way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.core.capabilities import Decoder, Density, Encoder, Latent, Reconstructor, Sampler, Scored
from jaxgen.core.conditions import Map, Text, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.keys import at_places
from jaxgen.core.model import (
    Aux,
    Batch,
    ImageModel,
    Model,
    Objective,
    Variables,
    batch_like,
    described_batch,
    rows,
)
from jaxgen.engine.state import mismatch


def contract(model: Model, batch: Mapping[str, Any] | None = None, *, num: int = 4, compute: bool = False) -> None:
    """Raises `UsageError` with the first promise that a model does not keep.

    `batch` is an example of what it is trained on (arrays, or their shapes), needed where it is no `ImageModel`. Looked
    at are: that the model can be hashed; its losses, their Aux, what they train and update; and by capability the
    shapes and dtypes of what its methods give. All that by shapes, in a second or two. `compute` compiles losses as
    well: where an objective promises to be separable, that of a batch must be the mean of those of its two halves.

    >>> import jaxgen
    >>> jaxgen.contract(jaxgen.VAE(shape=(8, 8, 1), levels=2))
    """
    name = type(model).__name__
    try:
        hash(model)
    except TypeError as error:
        raise UsageError(
            f"{name} cannot be hashed ({error}): give its class @dataclasses.dataclass(frozen=True, kw_only=True), and "
            "tuples where it holds lists."
        ) from error
    num = num if batch is None else rows(batch)
    described = None if batch is None else described_batch(batch)
    like, key = batch_like(model, num, described), jax.eval_shape(jax.random.key, 0)
    variables = _traced(f"{name}.init", model.init, key, like)
    if not isinstance(variables, dict) or not isinstance(variables.get("params"), Mapping):
        raise UsageError(
            f"{name}.init must give a dict of collections with 'params' among them, {{'params': {{...}}}}, got "
            f"{_kind(variables)}."
        )
    objectives = model.objectives()
    if not isinstance(objectives, tuple) or not all(isinstance(o, Objective) for o in objectives) or not objectives:
        raise UsageError(f"{name}.objectives must give a tuple of one Objective or more, got {_kind(objectives)}.")
    if len({o.name for o in objectives}) < len(objectives):
        raise UsageError(f"{name}: two objectives have one name: {', '.join(o.name for o in objectives)}.")
    for objective in objectives:
        _check_objective(name, objective, variables, like, key)
    _check_capabilities(model, variables, like, key, num)
    if compute:
        zeros = {n: jnp.zeros(x.shape, x.dtype) for n, x in like.items()}
        _check_separable(model, zeros if batch is None else dict(batch))


def is_proved(model: Any) -> bool:
    """Whether a model, with those in its fields, is the library's own, whose contract its tests keep."""
    fields = [getattr(model, f.name) for f in dataclasses.fields(model)] if dataclasses.is_dataclass(model) else []
    inner = [y for x in fields for y in (x if isinstance(x, tuple) else (x,)) if isinstance(y, Model)]
    return type(model).__module__.startswith("jaxgen.models.") and all(is_proved(m) for m in inner)


def _check_objective(model: str, objective: Objective, variables: Variables, batch: Batch, key: Any) -> None:
    where, params = f"{model}: objective '{objective.name}'", variables["params"]
    if not isinstance(objective.trains, tuple) or not all(isinstance(n, str) for n in objective.trains):
        raise UsageError(f"{where}: trains must be a tuple of names, ('net',), got {objective.trains!r}.")
    for name in objective.trains:
        if name not in params:
            raise UsageError(f"{where} trains '{name}', but the parameters are: {', '.join(params)}.")
    result = _traced(f"{where}, its loss", objective.loss, variables, batch, key)
    if not isinstance(result, tuple) or len(result) != 2:
        raise UsageError(f"{where}: its loss must give (value, Aux(...)), got {_kind(result)}.")
    value, aux = result
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise UsageError(f"{where}: its loss must be one float, the mean over examples, got {_kind(value)}.")
    if not isinstance(aux, Aux):
        raise UsageError(f"{where}: its loss must give jaxgen.Aux(metrics) beside its value, got {_kind(aux)}.")
    for name, x in {**aux.metrics, **aux.shown}.items():
        if getattr(x, "shape", ()) != ():
            raise UsageError(f"{where}: metric '{name}' must be a scalar, got {_kind(x)}: take its mean.")
    for collection, tree in aux.updates.items():
        if collection == "params":
            raise UsageError(
                f"{where} gives updates of 'params', which its gradient moves: return those of other collections, or "
                "change parameters in `after`."
            )
        if collection not in variables:
            raise UsageError(f"{where} updates '{collection}', which init does not make: {', '.join(variables)}.")
        _same(f"{where}: its update of '{collection}'", variables[collection], tree)
    if objective.after is not None:
        _same(
            f"{where}: what `after` gives",
            variables,
            _traced(f"{where}, after", objective.after, variables, batch, key),
        )


def _check_capabilities(model: Any, variables: Variables, batch: Batch, key: Any, num: int) -> None:
    name = type(model).__name__
    condition = model.condition_of(batch)
    if isinstance(model, Scored):
        result = _traced(f"{name}.scores", model.scores, variables, batch, key)
        if model.figure not in (*result, *model.ratios):
            raise UsageError(f"{name}.scores must give its figure '{model.figure}', it gives {', '.join(result)}.")
        for figure, x in result.items():
            _wants(f"{name}.scores, '{figure}'", x, (num,), None, "one number for each example, summed over pixels")
    if not isinstance(model, ImageModel):
        return
    images = ((num, *model.shape), jnp.uint8, f"uint8 images {list(model.shape)}")
    image = batch.get("image")
    if isinstance(model, Density):
        result = _traced(f"{name}.log_prob", model.log_prob, variables, image, key, condition)
        _wants(f"{name}.log_prob", result, (num,), None, "nats of each image, summed over pixels")
    if isinstance(model, Sampler):
        drawn = condition if isinstance(model.condition, Map | Vector | Text) else model.example_condition(num)
        call: Callable[..., Any] = lambda v, k, c: model.sample(v, k, num, c)  # noqa: E731
        _wants(f"{name}.sample", _traced(f"{name}.sample", call, variables, key, drawn), *images)
    if isinstance(model, Latent):
        z = _traced(f"{name}.prior", lambda key: model.prior(key, num), key)
        drawn = condition if isinstance(model.condition, Map | Vector | Text) else model.example_condition(num)
        _wants(f"{name}.decode", _traced(f"{name}.decode", model.decode, variables, z, drawn), *images)
    if isinstance(model, Encoder):
        z = _traced(f"{name}.encode", model.encode, variables, image, condition)
        if len(getattr(z, "shape", ())) != 2 or z.shape[0] != num:
            raise UsageError(f"{name}.encode must give a vector for each image, [{num}, d], got {_kind(z)}.")
        if isinstance(model, Decoder) and not isinstance(model, Latent):
            _wants(f"{name}.decode", _traced(f"{name}.decode", model.decode, variables, z, condition), *images)
    if isinstance(model, Reconstructor):
        result = _traced(f"{name}.reconstruct", model.reconstruct, variables, image, condition)
        _wants(f"{name}.reconstruct", result, *images)


def _check_separable(model: Model, batch: Batch, tolerance: float = 1e-3) -> None:
    half = rows(batch) // 2
    batch = {n: jnp.asarray(x[: 2 * half]) for n, x in batch.items()}
    variables, key = model.init(jax.random.key(0), batch), jax.random.key(1)
    for objective in model.objectives():
        if objective.examples != "separable" or not half:
            continue

        def loss(part: Batch, first: Any, objective: Objective = objective) -> Any:
            with at_places(first):
                return objective.loss(variables, part, key)[0]

        program = jax.jit(loss)
        whole = float(program(batch, 0))
        halves = [float(program({n: x[first : first + half] for n, x in batch.items()}, first)) for first in (0, half)]
        if not np.isclose(whole, np.mean(halves), rtol=tolerance, atol=tolerance):
            raise UsageError(
                f"{type(model).__name__}: objective '{objective.name}' promises to be separable, but a batch has the "
                f"loss {whole:.6g}, its halves have {np.mean(halves):.6g} on average: make it a mean over examples "
                'with draws by `core.keys.example_keys`, or call it "mixed".'
            )


def _traced(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except UsageError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UsageError(f"{what} fails: {type(error).__name__}: {first}") from error


def _wants(what: str, x: Any, shape: tuple[int, ...], dtype: Any, meaning: str) -> None:
    if getattr(x, "shape", None) != shape or (dtype is not None and x.dtype != dtype):
        raise UsageError(f"{what} must give {meaning}, {list(shape)}, got {_kind(x)}.")


def _same(what: str, want: Any, have: Any) -> None:
    difference = mismatch({"": want}, {"": have})
    if difference:
        raise UsageError(f"{what} must have the leaves of init: {difference}.")


def _kind(x: Any) -> str:
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}{list(x.shape)}"
    return type(x).__name__
