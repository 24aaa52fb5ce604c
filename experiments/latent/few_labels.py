"""FewLabels on MNIST. Unpublished. Ours: not run yet.

An encoder that was trained without labels (`--of RUN`, of any model that encodes images) under a linear classifier of
its codes, trained on 100 labelled images, 10 of each class: fine-tuned, or with `--frozen` as it is. Without a run it
is the same net from scratch, that of `autoencoder_mnist`. An encoder of fewer levels sees images requantised to them.
`experiments/studies/few_labels.py` compares all of these, and more, over numbers of labels and draws of them.

Protocol: error in percent of the 10,000 test images. The labelled images are drawn by `--draw` from the training images
without the validation split, and the figure is that of the last step: no label chooses a checkpoint.

    jaxgen train few_labels --of RUN
    jaxgen train few_labels --of RUN --frozen --lr 1e-2
    jaxgen train few_labels
"""

import optax

import jaxgen
from jaxgen import Graft, Recipe, UsageError
from jaxgen.data import labelled, requantised, source
from jaxgen.models import AutoEncoder, FewLabels


def recipe(
    data: str = "tfds:mnist",  # any source or path of images with labels
    of: str = "",  # the run of the encoder to begin with, one of 28×28 grey images; none: from scratch
    labels: int = 100,  # labelled images, as many of each class; 0: all training images
    draw: int = 0,  # which of them
    frozen: bool = False,  # leave the encoder as it is
    classes: int = 10,
    hidden: tuple[int, ...] = (),  # layers of the head; none: linear
    batch: int = 50,
    steps: int = 1000,
    lr: float = 1e-3,
) -> Recipe:
    if frozen and not of:
        raise UsageError(
            "a frozen encoder must have been trained before: name its run with --of, or leave --frozen away."
        )
    encoder = jaxgen.model_of(of) if of else AutoEncoder(shape=(28, 28, 1), levels=256)
    model = FewLabels(
        shape=encoder.shape, levels=encoder.levels, encoder=encoder, classes=classes, hidden=hidden, frozen=frozen
    )
    seen = requantised(source(data), encoder.levels) if encoder.levels < 256 else source(data)
    return Recipe(
        data=labelled(seen, labels, draw) if labels else seen,
        model=model,
        optimizer=optax.adam(optax.cosine_decay_schedule(lr, steps)),
        batch=batch,
        steps=steps,
        evaluate_every=steps,
        save_every=steps,
        eval_batch=500,
        grafts=tuple(Graft(run=of, take=take, put=put) for take, put in model.grafts()) if of else (),
    )


SMOKE = dict(labels=0, batch=8, steps=4)
EXPECTED: dict[str, tuple[float, float]] = {}
