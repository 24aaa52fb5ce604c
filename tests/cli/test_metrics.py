"""`jaxgen evaluate --metrics`: figures of samples and codes against the functions that they stand on; bad input."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import answered, refused, said
from helpers.runs import ONE
from helpers.stand_ins import Untrained

import jaxgen
from jaxgen.core.capabilities import Features
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.engine import preflight
from jaxgen.engine.deciding import Deciding, deciding
from jaxgen.explore.quality import features_of, quality
from jaxgen.metrics.frechet import frechet_distance
from jaxgen.runs import feature_judge
from jaxgen.runs.feature_judge import FeatureJudge, features_run
from jaxgen.runs.inception_file import InceptionFile

MADE = {
    "vae": ("VAE", "VAE(shape=(size, size, 1), levels=levels, latent=3, hidden=(8,))"),
    "digits_cnn": ("ConvClassifier", "ConvClassifier(shape=(size, size, 1), levels=levels, conv=(4,), hidden=48)"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of a VAE and of a classifier with random weights, the latter with a result of 90 % made up."""
    home = tmp_path_factory.mktemp("metrics")
    face_recipes.write(home)
    for name, (model, made) in MADE.items():
        text = face_recipes.HEAD.format(title=name, model=model, made=made)
        (home / "experiments" / f"{name}.py").write_text(text)
    face_recipes.untrained(home, "vae", "digits_cnn")
    (home / "digits_cnn" / "result.json").write_text(json.dumps({"metrics": {"test/error": 10.0}}))
    return home


@pytest.fixture(scope="module")
def vae(runs):
    return jaxgen.load(runs / "vae")


@pytest.fixture(scope="module")
def net(runs):
    return features_run(runs / "digits_cnn")


def test_samples_are_judged_beside_their_floor(runs, vae, net, capsys):
    do = ("evaluate", runs / "vae", "--metrics", "fd,kid,prdc", "--features", runs / "digits_cnn", "--num", 40)
    actual = answered(capsys, *do, "--seed", 2)
    expected = quality(vae, net, vae.dataset, num=40, seed=2)
    assert {name: actual[name] for name in expected.figures} == pytest.approx(expected.figures, rel=1e-5)
    assert actual["floor"] == pytest.approx(expected.floor, rel=1e-5)
    splits = vae.dataset.test, vae.dataset.train
    real, train = (split.image[np.linspace(0, len(split) - 1, 40).astype(int)] for split in splits)
    features = [features_of(net, image, 17) for image in (vae.sample(40, 2), train, real)]
    assert actual["fd"] == pytest.approx(frechet_distance(features[0], features[2]), rel=1e-5)
    assert actual["floor"]["fd"] == pytest.approx(frechet_distance(features[1], features[2]), rel=1e-5)
    assert (actual["features"], actual["num"], actual["floor_of"]) == ("digits_cnn", 40, "train")


def test_figures_are_said_by_their_classifier_and_few_images_to_be_few(runs, vae, net, capsys):
    do = ("evaluate", runs / "vae", "--metrics", "fd", "--features", runs / "digits_cnn", "--num", 40)
    lines = said(capsys, *do)[1].splitlines()
    actual = quality(vae, net, vae.dataset, ("fd",), 40)
    assert lines == [
        f"FD[digits_cnn]  {actual.figures['fd']:.4g}, floor {actual.floor['fd']:.4g}",
        "40 samples of step 1 beside 40 test images of digits; floor: as many train images in their place",
        "40 images have no covariance of full rank in 48 features: FD is far above what it is of many images; give "
        "more, or take kid, which is unbiased",
    ]


def test_a_judge_tells_the_distance_and_decides(runs, vae, net):
    where = str(runs / "digits_cnn")
    judge = FeatureJudge(features=where, metrics=("fd", "kid"), num=20)
    rng = np.random.default_rng(0)
    image, real = (rng.integers(0, 17, (n, 8, 8, 1)).astype(np.uint8) for n in (40, 40))
    expected = frechet_distance(features_of(net, image, 17), features_of(net, real, 17))
    told = judge.judge(image, real, 17, None)
    assert told["fd[digits_cnn]"] == pytest.approx(expected)
    assert {*told} == {*judge.figures} == {"fd[digits_cnn]", "kid[digits_cnn]"}
    assert hash(judge) == hash(FeatureJudge(features=where, metrics=("fd", "kid"), num=20))
    before = feature_judge._features_of_real.cache_info().misses
    judge.judge(image[::-1], real.copy(), 17, None)
    assert feature_judge._features_of_real.cache_info().misses == before, "real images are described once"
    with pytest.raises(UsageError, match="but these are 9×8×1"):
        judge.check((9, 8, 1), 17)
    best = dataclasses.replace(vae.recipe, judges=(judge,), best="kid[digits_cnn]")
    assert deciding(best) == Deciding("kid[digits_cnn]", False, "samples")
    missing = dataclasses.replace(vae.recipe, judges=(FeatureJudge(features="nowhere"),))
    with pytest.raises(UsageError, match="there is no run nowhere"):
        preflight.check(missing, vae.dataset, ONE)


def test_features_of_a_file_are_called_after_its_digest(runs, vae, tmp_path, capsys, monkeypatch):
    """With the pixels in the place of Inception's features, which take long to compile."""
    file = tmp_path / "weights.npz"
    np.savez(file, **{"Conv2d_1a_3x3.conv.weight": np.zeros((32, 3, 3, 2), np.float32)})
    do = ("evaluate", runs / "vae", "--metrics", "fd,kid", "--features", file, "--num", 40)
    message = refused(capsys, *do)
    assert "wanted the array Conv2d_1a_3x3.conv.weight" in message
    assert "[32, 3, 3, 3], got shape [32, 3, 3, 2]" in message
    name = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    pixels = dataclasses.make_dataclass("Pixels", [], bases=(Untrained, Features), frozen=True, kw_only=True)
    pixels.features = lambda self, variables, image: to_float(image, 256).reshape(len(image), -1)
    pixels.__abstractmethods__ = frozenset()
    net = InceptionFile(pixels(shape=(8, 8, 1), levels=256), {}, ONE, name)
    monkeypatch.setattr(feature_judge, "inception", lambda name, shape: net)
    expected = quality(vae, net, vae.dataset, ("fd", "kid"), 40)
    code, out, _ = said(capsys, *do)
    assert code == 0
    assert out.startswith(f"FID[{name}]  {expected.figures['fd']:.4g}, floor ")
    assert f"\nKID[{name}]  {expected.figures['kid']:.4g} ± " in out
    assert {*FeatureJudge(features=str(file), metrics=("fd", "kid")).figures} == {f"fid[{name}]", f"kid[{name}]"}


def test_a_classifier_that_is_not_good_enough_is_refused(runs):
    with pytest.raises(UsageError, match=r"tells 90 % of test images.*wanted of one that tells 95 %"):
        features_run(runs / "digits_cnn", 95.0)
    result = runs / "digits_cnn" / "result.json"
    kept = result.read_text()
    result.unlink()
    try:
        with pytest.raises(UsageError, match="has no result with a test error"):
            features_run(runs / "digits_cnn")
        assert features_run(runs / "digits_cnn", 0.0).step == 1
    finally:
        result.write_text(kept)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--metrics", "fid"], ["no metric 'fid'", "Did you mean 'fd'", "fd, kid, prdc"]),
        (["--metrics", "fd"], ["--metrics fd compares images by the features of a classifier", "--features"]),
        (["--metrics", "fd", "--num", "1"], ["fd wants at least 2 images", "got 1"]),
        (["--metrics", "fd", "--num", "0"], ["--num must be at least 1"]),
        (["--metrics", "kid", "--features", "{runs}/digits_cnn", "--num", "361"], ["test of digits has 360 images"]),
        (["--metrics", "kid", "--features", "{runs}/vae"], ["VAE cannot give features of images", "ConvClassifier"]),
        (["--metrics", "fd", "--features", "{runs}/digits_cnn", "--least-accuracy", "95"], ["tells 90 %"]),
        (["--metrics", "fd", "--features", "nowhere"], ["there is no run nowhere"]),
        (["--num", "5"], ["--num is about metrics of samples", "--metrics"]),
        (["--metrics", "fd", "--iw-samples", "5"], ["--iw-samples and --draws are about likelihoods"]),
        (["{runs}/vae", "--metrics", "fd"], ["judges one run at a time, got 2"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("-") else "",
)
def test_bad_input_gets_one_sentence(args, parts, runs, capsys):
    message = refused(capsys, "evaluate", runs / "vae", *(arg.format(runs=runs) for arg in args))
    for part in parts:
        assert part in message
