"""The study of memories: what lies halfway is held against what is kept, and what is done is read and not trained."""

import argparse
import importlib.util
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.models.one_image.memoriser import Memoriser


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("memoriser_study", ROOT / "experiments/studies/memoriser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_that_decodes(decode):
    """A run that keeps eight images, pixel i of image i lit, under the unit vectors as codes."""
    kept = np.eye(8, dtype=np.uint8).reshape(8, 2, 4, 1)
    model = Memoriser(shape=(2, 4, 1), levels=2, images=8, latent=8, net="dense")
    split = SimpleNamespace(image=kept)
    return SimpleNamespace(
        model=model,
        variables={"codes": {"z": jnp.eye(8)}},
        dataset=SimpleNamespace(train=split),
        decode=lambda z, condition: kept[decode(z)],
    )


def test_what_lies_halfway_is_held_against_what_is_kept(study):
    """A memory that jumps from one image to the other shows ends alone; one that shows the same image always is at an
    end of two of eight ways."""
    jumps = study.halfway(run_that_decodes(lambda z: z.argmax(axis=1)))
    assert jumps == {"nearest_psnr": pytest.approx(100), "ends": 1.0}
    stuck = study.halfway(run_that_decodes(lambda z: np.full(len(z), 5)))
    assert stuck == {"nearest_psnr": pytest.approx(100), "ends": 0.25}
    place, mse = study.nearest_kept(np.ones((1, 2, 4, 1), np.uint8), np.eye(8, dtype=np.uint8).reshape(8, 2, 4, 1), 2)
    assert (place.shape, mse[0]) == ((1,), pytest.approx(7 / 8))


def test_finished_cells_are_read_and_controls_have_the_largest_code_alone(study, tmp_path):
    options = argparse.Namespace(
        data="digits", images=8, steps=5, widths=[4, 8], latents=[2, 16], codes=["fixed"], out=tmp_path
    )
    options.contents = ["images", "noise"]
    wanted = [("images", 4, 2), ("images", 4, 16), ("images", 8, 2), ("images", 8, 16), ("noise", 4, 16)]
    wanted.append(("noise", 8, 16))
    assert list(study.cells(options)) == [(content, "fixed", width, latent) for content, width, latent in wanted]
    figures = {"psnr": 31.25, "exact": 40.0, "mean_psnr": 12.5, "nearest_psnr": 17.0, "ends": 0.5, "seconds": 1.0}
    for content, width, latent in wanted:
        folder = tmp_path / f"{content}-fixed-{width}-{latent}"
        folder.mkdir()
        (folder / "figures.json").write_text(json.dumps(figures))
    rows = study.study(options, [])
    assert study.table(rows).splitlines()[2] == "| images | fixed | 4 | 2 | 31.25 | 12.50 | 40.0 | 17.0 | 50 |"
    assert json.loads((tmp_path / "memoriser.json").read_text())["rows"] == rows
    options.steps = 6
    with pytest.raises(ValueError, match="whose steps is 5, not 6"):
        study.study(options, [])
