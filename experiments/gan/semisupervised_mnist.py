"""SemiSupervised GAN on MNIST with 100 labels. 1606.03498: 0.93 % test error. Ours: not run yet.

The labels are those of 100 training images, 10 of each class; all others have none. Nets, noise, Adam with β1 = .5 and
the step size, which falls to zero over the last third, are the paper's code's; its 1200 epochs of 500 steps are cut to
55 of 540, for two cores of a CPU, and the averaged parameters are scored.

Protocol: error in percent of the 10,000 test images. The labelled images are drawn by `--draw` from the training images
without the validation split. With one evaluation, the default, the figure is that of the last step, and no label
chooses a checkpoint; with more of them labels of validation images do.

    jaxgen train semisupervised_mnist
    jaxgen train semisupervised_mnist --draw 1 --run runs/semisupervised_mnist_1
"""

import optax

from jaxgen import Recipe
from jaxgen.data import partly_labelled, source
from jaxgen.models.gan.semisupervised import SemiSupervisedGAN


def recipe(
    data: str = "tfds:mnist",  # any source or path of images with labels
    labels: int = 100,  # labelled images, as many of each class; 0: all training images
    draw: int = 0,  # which of them
    classes: int = 10,
    size: int = 28,  # height and width of the images
    channels: int = 1,
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250),  # layers of the critic
    latent: int = 100,
    batch: int = 100,  # labelled images, as many without a label, and as many fakes
    steps: int = 30_000,
    lr: float = 3e-3,
    ema: float = 0.999,  # of the parameters that are scored and drawn from, 0: the last ones
    evaluate_every: int = 0,  # 0: once, at the end
) -> Recipe:
    falls = max(1, steps // 3)
    return Recipe(
        data=partly_labelled(source(data), labels, draw) if labels else source(data),
        model=SemiSupervisedGAN(
            shape=(size, size, channels), levels=256, classes=classes, latent=latent, hidden=hidden
        ),
        optimizer=optax.adam(optax.linear_schedule(lr, 0.0, falls, steps - falls), b1=0.5),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every or steps,
        save_every=min(steps, 1000),
        eval_batch=500,
    )


SMOKE = dict(labels=0, hidden=(8, 6), latent=4, batch=8, steps=2)
EXPECTED: dict[str, tuple[float, float]] = {}
