"""`jaxgen arithmetic`: sums of latent codes, concept A less concept B plus concept C."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

CONCEPT = "Numbers of codes, as in 3,17,40, or class:N, the first ones of that class."
Concept = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CONCEPT", help=CONCEPT)]
Keepers = Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(default: none)")]
Class = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: nothing is counted)")]

SHOWN = 5
"""Codes of a concept that are shown beside their mean."""


@dataclasses.dataclass(kw_only=True)
class Arithmetic(OfRun):
    """Add up latent codes, A − B + C, each the mean of a concept's: its images, those near the sum around that, and how
    often a classifier takes such sums for the class that they should be of."""

    a: Concept
    b: Concept
    c: Concept
    images: flags.text("IMAGES", "draws of the prior") = ""  # type: ignore[valid-type]
    """Images whose codes concepts are taken from, named as elsewhere."""
    codes: int = 1000
    """How many codes concepts are taken from."""
    num: int = 3
    """Codes whose mean a class is; concepts of one class have different ones."""
    classifier: flags.text("RUN", "labels of the images") = ""  # type: ignore[valid-type]
    """The run of a classifier that says of which class codes are, by their images."""
    least_accuracy: float = 80.0
    """Percent of test images that the classifier must tell; 0 takes it as it is."""
    expects: Class = None
    """Count how often the classifier takes sums for this class: the nine that are shown, and A − B added to every other
    code of class C."""
    keeps: Keepers = ()
    """Runs of classifiers of other attributes: of those codes of class C, count how many images keep the class that
    each of these told before A − B was added."""
    noise: float = 0.25
    """How far each number of the eight codes around the sum is moved at most."""
    seed: int = 0
    """Seed of the draws and of the noise."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Arithmetic, args, "jaxgen arithmetic")
    at_least_one(codes=options.codes, num=options.num)
    if not 0 <= options.noise < math.inf:
        raise UsageError(f"--noise must be a number from 0 on, got {options.noise:g}.")
    if options.expects is not None and not options.classifier:
        raise UsageError("--expects asks a classifier: name its run with --classifier.")
    if options.keeps and options.expects is None:
        raise UsageError("--keeps counts what else sums keep: say with --expects what they are expected to be.")
    words = [options.a, options.b, options.c]
    concepts = [_concept(word) for word in words]
    path = output(options, "arithmetic.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.explore.arithmetic import AROUND, around, summed
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.page import below, beside, framed
    from jaxgen.pictures.page import words as written
    from jaxgen.pictures.strips import strips

    pool, classes, net = _pool(run, options, any(isinstance(concept, int) for concept in concepts))
    keepers = [_classifier(run, folder, options) for folder in options.keeps]
    places: list[Any] = []
    for word, concept in zip(words, concepts):
        free = None if classes is None else classes.copy()
        for taken, other in zip(places, concepts):
            if free is not None and isinstance(other, int):
                free[taken] = -1  # a concept of the same class has the next ones
        places.append(_places(word, concept, free, options, pool))
    middle = summed(pool.code, *places)
    pictures: list[Any] = []
    for name, chosen in zip("ABC", places):
        mean = pool.code[chosen].mean(axis=0)[None]
        some = chosen[:SHOWN]
        image = run.decode(np.concatenate([mean, pool.code[some]]), _under(pool, some[:1], some))
        heads = [f"mean of {name}", *(pool.names[place] for place in some)]
        pictures.append(strips([(displayed(image[None], run.model.levels), heads)]))
    nine = run.decode(around(middle, options.noise, options.seed), _under(pool, np.repeat(places[2][0], AROUND + 1)))
    sums = strips(
        [(displayed(nine.reshape(3, 3, *nine.shape[1:]), run.model.levels), ["", "A - B + C", ""])]
    )  # the letters have no minus
    title = f"{type(run.model).__name__}, step {run.step:,}: A is {words[0]}, B is {words[1]}, C is {words[2]}"
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "concepts": [p.tolist() for p in places]}
    figures["names"] = [[pool.names[place] for place in chosen] for chosen in places]
    text = f"{path}: A − B + C of {', '.join(f'{w} ({len(p)} codes)' for w, p in zip(words, places))}"
    if options.expects is not None:
        text += _scored(run, net, options, pool, classes, places, nine, isinstance(concepts[2], int), figures)
        if keepers and figures["trials"]:
            text += _kept(run, keepers, options, pool, classes, places, figures)
    save_png(framed(below([written(title), beside([below(pictures), sums])])), path)
    say(options.json, figures, text)
    return 0


def _concept(word: str) -> int | list[int]:
    """A class, or places of codes. Raises `UsageError` for a word that is neither."""
    if re.fullmatch(r"class:\d+", word):
        return int(word[len("class:") :])
    if not re.fullmatch(r"\d+(,\d+)*", word):
        raise UsageError(f"a concept is numbers of codes, as in 3,17,40, or a class, as in class:7, got {word!r}.")
    return [int(number) for number in word.split(",")]


def _pool(run: Any, options: Arithmetic, by_class: bool) -> tuple[Any, Any, Any]:
    """The codes that concepts are taken from, their classes, None where nobody asks, and the classifier."""
    from jaxgen.cli import codes
    from jaxgen.cli.inputs import named_images

    codes.check_decodes(run, bool(options.images), "add up latent codes", "add up codes of images")
    if by_class and not (options.images or options.classifier):
        raise UsageError(
            "a concept that is a class of draws wants a classifier to tell it: name one with --classifier."
        )
    net = None
    if options.classifier:
        from jaxgen.explore.arithmetic import taken_for

        net = _classifier(run, options.classifier, options)
        known = net.model.classes
        if options.expects is not None and not 0 <= options.expects < known:
            raise UsageError(f"--expects {options.expects}: the classifier tells classes 0 to {known - 1}.")
    classes = None
    if options.images:
        images = named_images(run, options.images, options.codes, options.label)
        pool, classes = codes.of_images(run, images), images.label
    else:
        pool = codes.of_draws(run, options.codes, options.seed, options.label)
    if net is not None:
        classes = taken_for(net, run.decode(pool.code, pool.condition), run.model.levels)
    if by_class and classes is None:
        raise UsageError(
            f"{options.images} has no labels that would tell a class: name a classifier with --classifier."
        )
    return pool, classes, net


def _classifier(run: Any, folder: str, options: Arithmetic) -> Any:
    """A classifier of such images as the run's model makes."""
    from jaxgen.explore.arithmetic import check_classes
    from jaxgen.runs.feature_judge import features_run

    net = features_run(folder, options.least_accuracy)
    check_classes(net, run)
    return net


def _places(word: str, concept: int | list[int], classes: Any, options: Arithmetic, pool: Any) -> Any:
    """The places of a concept's codes. Raises `UsageError` for one without enough codes."""
    import numpy as np

    from jaxgen.explore.arithmetic import of_class

    if isinstance(concept, int):
        return of_class(classes, concept, options.num)
    if max(concept) >= len(pool.code):
        raise UsageError(f"{word}: there is no code {max(concept)}, they are numbered from 0 to {len(pool.code) - 1}.")
    return np.array(concept)


def _under(pool: Any, *places: Any) -> Any:
    """The conditions of the codes at those places, None where there are none."""
    import numpy as np

    return None if pool.condition is None else np.asarray(pool.condition)[np.concatenate(places)]


def _scored(
    run: Any, net: Any, options: Any, pool: Any, classes: Any, places: Any, nine: Any, by_class: bool, figures: Any
) -> str:
    """What the classifier says of the sums; adds to the figures."""
    import numpy as np

    from jaxgen.explore.arithmetic import score, taken_for

    wanted, levels = options.expects, run.model.levels
    nine_scores = score(taken_for(net, nine, levels), classes, wanted)
    count = round(nine_scores.percent * nine_scores.trials / 100)
    figures |= {
        "expects": wanted,
        "nine": count,
        "chance": nine_scores.chance,
        "percent": None,
        "stderr": None,
        "trials": 0,
    }
    text = f"; {count} of the nine are taken for class {wanted}"
    others = _others(classes, places) if by_class else np.empty(0, int)
    if len(others):
        image = run.decode(_moved(pool, others, places), _under(pool, others))
        scored = score(taken_for(net, image, levels), classes, wanted)
        figures |= {"percent": scored.percent, "stderr": scored.stderr, "trials": scored.trials}
        text += (
            f", and {scored.percent:.4g} ± {scored.stderr:.2g} % of {scored.trials:,} other codes of C with A − B added"
        )
    return f"{text}; {nine_scores.chance:.3g} % of all codes are"


def _kept(run: Any, keepers: Any, options: Any, pool: Any, classes: Any, places: Any, figures: dict[str, Any]) -> str:
    """What other classifiers say of the same sums; adds to the figures."""
    from jaxgen.explore.arithmetic import kept, taken_for

    others, figures["keeps"], text = _others(classes, places), {}, ""
    before = run.decode(pool.code[others], _under(pool, others))
    after = run.decode(_moved(pool, others, places), _under(pool, others))
    for folder, net in zip(options.keeps, keepers):
        same = kept(*(taken_for(net, image, run.model.levels) for image in (before, after)))
        figures["keeps"][folder] = {"percent": same.percent, "stderr": same.stderr, "chance": same.chance}
        text += (
            f"\n{same.percent:.4g} ± {same.stderr:.2g} % of these are to {folder} what they were; of any two of them "
            f"{same.chance:.3g} % are alike"
        )
    return text


def _others(classes: Any, places: Any) -> Any:
    """The places of all codes of C's class that no concept has."""
    import numpy as np

    return np.setdiff1d(np.flatnonzero(classes == classes[places[2][0]]), np.concatenate(places))


def _moved(pool: Any, others: Any, places: Any) -> Any:
    """Codes at these places with A − B added."""
    return pool.code[others] + pool.code[places[0]].mean(axis=0) - pool.code[places[1]].mean(axis=0)
