"""Looking into a GAN from the command line: pictures against the run's own numbers, bad input in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import recipes
from helpers.cli import answered, refused
from PIL import Image

import jaxgen
from jaxgen.core.images import to_float
from jaxgen.explore.arithmetic import around, summed, taken_for
from jaxgen.explore.features import nearest, responses
from jaxgen.explore.probing import probes
from jaxgen.explore.removal import box_of, coloured, forget, hits, shows_in
from jaxgen.pictures.grid import displayed

NET = "ConvClassifier(shape=(size, size, 1), levels=levels, conv=(2,), hidden=4)"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of a GAN and a classifier, with random weights."""
    home = tmp_path_factory.mktemp("looking")
    recipes.write(home)
    text = recipes.HEAD.format(title="Tiny classifier", model="ConvClassifier", made=NET)
    (home / "experiments" / "net.py").write_text(text)
    return recipes.untrained(home, "gan", "net")


@pytest.fixture(scope="module")
def gan(runs):
    return jaxgen.load(runs / "gan")


@pytest.fixture(scope="module")
def net(runs):
    return jaxgen.load(runs / "net")


def shown_in(path, image, levels=17):
    """Whether a page holds an enlarged picture of an image somewhere."""
    page = np.asarray(Image.open(path))[..., 0]
    wanted = displayed(image, levels)[..., 0].repeat(7, 0).repeat(7, 1)
    windows = np.lib.stride_tricks.sliding_window_view(page, wanted.shape)
    corners = np.argwhere(windows[..., 0, 0] == wanted[0, 0])
    return any((windows[i, j] == wanted).all() for i, j in corners)


def test_sums_of_codes_by_number_and_by_class(runs, gan, net, capsys):
    do = ("arithmetic", runs / "gan", "0,2", "5", "class:{}", "--codes", 60, "--num", 2, "--seed", 3, "-o", "a.png")
    z = gan.prior(60, 3)
    classes = taken_for(net, gan.decode(z), 17)
    kind = int(np.bincount(classes).argmax())
    with_net = ("--classifier", runs / "net", "--least-accuracy", 0, "--expects", kind)
    actual = answered(capsys, *(str(word).format(kind) for word in do), *with_net, "--keeps", runs / "net")
    places = [[0, 2], [5], np.flatnonzero(classes == kind)[:2].tolist()]
    assert actual["concepts"] == places
    nine = gan.decode(around(summed(z, *places), 0.25, 3))
    assert actual["nine"] == (taken_for(net, nine, 17) == kind).sum()
    assert actual["chance"] == pytest.approx(100 * (classes == kind).mean())
    assert all(shown_in("a.png", image) for image in (*nine, *gan.decode(z[[0, 2, 5]])))
    others = np.setdiff1d(np.flatnonzero(classes == kind), [*places[2], 0, 2, 5])
    moved = taken_for(net, gan.decode(z[others] + z[[0, 2]].mean(axis=0) - z[5]), 17)
    assert actual["trials"] == len(others)
    assert actual["percent"] == pytest.approx(100 * (moved == kind).mean())
    (same,) = actual["keeps"].values()
    assert (same["percent"], same["chance"]) == (pytest.approx(actual["percent"]), 100.0)  # all were of that class
    twice = answered(capsys, *do[:2], f"class:{kind}", f"class:{kind}", "1", *do[5:], *with_net[:-2])
    assert np.concatenate(twice["concepts"][:2]).tolist() == np.flatnonzero(classes == kind)[:4].tolist()


def test_responses_of_a_trained_critic_and_a_random_one(runs, gan, capsys):
    do = ("responses", runs / "gan", "--images", "test", "--looked-at", 20, "--features", 1, 0, "--num", 2)
    actual = answered(capsys, *do, "-o", "r.png")
    x = to_float(gan.dataset.test.image[np.linspace(0, len(gan.dataset.test) - 1, 20).astype(int)], 17)
    critic = lambda x: gan.model.critic_scores(gan.variables, x)  # noqa: E731
    of = responses(critic, np.asarray(x), 0, (1, 0), 2)
    assert actual["layers"] == [[4, 4, 4]]
    np.testing.assert_allclose(actual["responses"], of.value, rtol=1e-5)
    picture = np.round(127.5 + 127.5 * of.gradient[0, 0] / np.abs(of.gradient[0, 0]).max())
    assert shown_in("r.png", picture, 256)


def test_a_critic_scores_images_as_in_training_but_for_its_statistics(gan):
    """Its features are those of the net on images in −1 … 1; each image's score is its own."""
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8, 1))
    scores = gan.model.critic_scores(gan.variables, x)
    net = {"params": gan.variables["params"]["critic"], "batch_stats": gan.variables["batch_stats"].get("critic", {})}
    np.testing.assert_allclose(scores, gan.model.critic.apply(net, 2 * x - 1, train=False)[0], rtol=1e-5)
    np.testing.assert_allclose(scores[1:2], gan.model.critic_scores(gan.variables, x[1:2]), rtol=1e-4, atol=1e-5)


def test_a_generator_without_the_maps_that_speak_for_a_box(runs, gan, capsys):
    do = ("remove", runs / "gan", "2:0,0,4,4", "0:4,0,8,4", "--num", 2, "--seed", 3, "-o", "x.png")
    actual = answered(capsys, *do)
    assert (actual["layers"], actual["layer"], actual["samples"]) == ([[4, 4, 4]], 0, [2, 0, 1, 3])
    z = gan.prior(4, 3)[[2, 0, 1, 3]]
    net, maps = forget(lambda z: gan.model.decode(gan.variables, z), z[:2], [(0, 0, 4, 4), (4, 0, 8, 4)], 0, (8, 8), 3)
    assert np.flatnonzero(maps).tolist() == actual["maps"]
    assert all(shown_in("x.png", image) for image in (*gan.decode(z), *np.asarray(net(z))))


def test_an_object_is_found_and_counted_by_its_colour(runs, gan, capsys):
    do = ("remove", runs / "gan", "--colour", 230, "--near", 25, "--least", 2, "--marked", 5, "--trials", 20)
    told = answered(capsys, *do, "--num", 3, "-o", "x.png")
    generator = lambda z: gan.model.decode(gan.variables, z)  # noqa: E731
    z = gan.prior(23)
    boxes = [box_of(there, 2) for there in coloured(displayed(gan.decode(z), 17), (230,), 25)]
    marked = [number for number, box in enumerate(boxes) if box and shows_in(box, (8, 8), (4, 4))][:5]
    assert told["samples"][:3] == marked[:3]
    net, maps = forget(generator, z[marked], [boxes[number] for number in marked], 0, (8, 8))
    assert told["maps"] == np.flatnonzero(maps).tolist()
    others = np.setdiff1d(np.arange(23), marked)
    before, after = (displayed(np.asarray(of(jnp.asarray(z[others]))), 17) for of in (generator, net))
    actual = hits(before, after, (230,), 25, 2)
    assert (told["gone"], told["trials"]) == (actual.percent, actual.trials)
    assert told["psnr"] == pytest.approx(actual.psnr)


def test_the_nearest_training_images_of_samples(runs, gan, net, capsys):
    do = ("nearest", runs / "gan", "--num", 3, "--neighbours", 2, "--among", 50, "--seed", 4, "-o", "n.png")
    actual = answered(capsys, *do, "--features", runs / "net", "--least-accuracy", 0)
    train = gan.dataset.train.image[np.linspace(0, len(gan.dataset.train) - 1, 50).astype(int)]
    sample = gan.sample(3, 4)
    place, distance = nearest(sample.reshape(3, -1) / 16, train.reshape(50, -1) / 16, 2)
    np.testing.assert_allclose(actual["nearest"]["pixels"]["distance"], distance, rtol=1e-6)
    assert all(shown_in("n.png", image) for image in (*sample, *train[place.ravel()]))
    _, distance = nearest(net.features(sample), net.features(train), 2)
    np.testing.assert_allclose(actual["nearest"]["features"]["distance"], distance, rtol=1e-4)


def test_labels_read_off_a_critic_and_off_pixels(runs, gan, net, capsys):
    told = answered(capsys, "probe", runs / "gan", "--num", 60, "--tested", 40)
    known = probes(gan, gan.dataset, 60, 40)
    assert {name: row["percent"] for name, row in told["probes"].items()} == {
        name: probe.percent for name, probe in known.items()
    }
    assert told["probes"]["critic features"]["dims"] == 4 * 4 * 4


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["arithmetic", "net", "0", "1", "2"], ["ConvClassifier cannot add up latent codes"]),
        (["arithmetic", "gan", "0", "1", "smile"], ["a concept is numbers of codes", "'smile'"]),
        (["arithmetic", "gan", "0", "1", "9", "--codes", "9"], ["no code 9", "from 0 to 8"]),
        (["arithmetic", "gan", "0", "1", "class:2"], ["wants a classifier", "--classifier"]),
        (["arithmetic", "gan", "0", "1", "2", "--expects", "2"], ["--expects asks a classifier"]),
        (["arithmetic", "gan", "0", "1", "2", "--keeps", "net"], ["--keeps counts what else", "--expects"]),
        (["arithmetic", "gan", "0", "1", "2", "--noise", "-1"], ["--noise must be a number from 0 on", "-1"]),
        (["arithmetic", "gan", "0", "1", "class:11", "--classifier", "net"], ["class 11 wants 3 codes, and 0 of"]),
        (["responses", "net"], ["ConvClassifier cannot show what its critic responds to", "DCGAN"]),
        (["responses", "gan", "--layer", "3"], ["there is no layer 3", "0 (4×4×4)"]),
        (["responses", "gan", "--features", "4"], ["layer 0 has features 0 to 3, got 4"]),
        (["remove", "net", "0:0,0,4,4"], ["ConvClassifier cannot forget an object"]),
        (["remove", "gan"], ["wants RUN N:TOP,LEFT,BOTTOM,RIGHT", "--colour"]),
        (["remove", "gan", "--colour", "1", "2", "3"], ["a colour of 1 numbers from 0 to 255"]),
        (["remove", "gan", "--colour", "77", "--near", "0", "--least", "64"], ["none of 508 samples has 64 pixels"]),
        (["remove", "gan", "0:0,0,4"], ["a box is N:TOP,LEFT,BOTTOM,RIGHT", "'0:0,0,4'"]),
        (["remove", "gan", "0:0,0,9,4"], ["the box 0,0,9,4", "bottom ≤ 8"]),
        (["remove", "gan", "0:0,0,4,4", "--layer", "1"], ["there is no layer 1", "0 (4×4×4)"]),
        (["probe", "gan", "--tested", "361"], ["test of digits has 360 images, got 361"]),
        (["probe", "gan", "--num", "0"], ["--num must be at least 1"]),
        (["nearest", "net"], ["ConvClassifier cannot draw samples"]),
        (["nearest", "gan", "--features", "gan"], ["DCGAN cannot give features of images"]),
        (["nearest", "gan", "--among", "2"], ["--neighbours wants at most the 2 of --among, got 4"]),
        (["nearest", "gan", "-o", "n.gif"], ["ends in .png"]),
    ],
    ids=lambda value: " ".join(value) if value[0].islower() else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, parts, runs, capsys):
    words = [str(runs / word) if word in ("gan", "net") else word for word in args[1:]]
    if "--classifier" in words:
        words += ["--least-accuracy", "0"]
    inside = sorted(runs.rglob("*"))
    message = refused(capsys, args[0], *words)
    assert sorted(runs.rglob("*")) == inside
    for part in parts:
        assert part in message
