"""AutoEncoder on MNIST. Unpublished. Ours: not run yet.

784–512–256–32 and back with tanh, a squared error, Adam along a cosine: the encoder of the study of few labels. Its
figure is the mean squared error per sub-pixel in units of the full range, whatever the loss, with the PSNR beside it.
`--preset denoising` blackens a quarter of the pixels and asks for the whole image, `--preset conv` is convolutional,
`--preset linear` has no hidden layer: it comes to the error of 32 principal components and no lower. `--perceptual
RUN` compares images by the layers of a classifier or a critic too, and "sharpness" tells what that does to blur: the
power of waves shorter than four pixels in what is given back, as a share of that in the images.

Protocol: 60,000 training images, a tenth of them for validation, on which the best checkpoint is chosen; the figure is
the mean over the 10,000 test images. No labels are read.

    jaxgen train autoencoder_mnist
    jaxgen train autoencoder_mnist --preset denoising
    jaxgen train autoencoder_mnist --perceptual runs/classifier_mnist
    jaxgen reconstruct RUN
"""

import optax

from jaxgen import Graft, Recipe, model_of
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.latent.autoencoder import AutoEncoder


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    latent: int = 32,
    net: str = "dense",  # or conv
    hidden: tuple[int, ...] = (512, 256),  # widths of dense layers, or feature maps of convolutions
    reconstruction: str = "squared",  # or bernoulli
    noise: str = "none",  # or gaussian, masking: what a denoising one sees through
    noise_level: float = 0.25,  # its standard deviation, of the full range, or the share of pixels that it blackens
    perceptual: str = "",  # run of a classifier or a GAN in whose layers images are compared beside the loss
    perceptual_weight: float = 0.02,
    batch: int = 100,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 500,
    ema: float = 0.999,
    evaluate_every: int = 2000,
) -> Recipe:
    model = AutoEncoder(
        shape=(28, 28, 1),
        levels=256,
        latent=latent,
        net=net,
        hidden=hidden,
        reconstruction=reconstruction,
        noise=noise,
        noise_level=noise_level,
        perceptual=model_of(perceptual) if perceptual else None,
        perceptual_weight=perceptual_weight,
    )
    return Recipe(
        data=source(data),
        model=model,
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        eval_batch=500,
        grafts=tuple(Graft(run=perceptual, take=take, put=put) for take, put in model.grafts()),
    )


SMOKE = dict(latent=2, hidden=(8,), batch=8, steps=4, warmup=1, evaluate_every=2)
PRESETS = {
    "denoising": dict(noise="masking"),
    "conv": dict(net="conv", hidden=(32, 64)),
    "linear": dict(hidden=()),
}
EXPECTED: dict[str, tuple[float, float]] = {}
