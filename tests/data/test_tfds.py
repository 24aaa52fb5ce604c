"""TFDS without TensorFlow and without a network: preparing from original files, reading at random access."""

import dataclasses
import gzip
import hashlib
import io
import shutil
import socket
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgen.core.errors import UsageError
from jaxgen.data.binarized_mnist import binarized_mnist
from jaxgen.data.source import source
from jaxgen.data.tfds import tfds
from jaxgen.data.tfds_prepare import AMAT, IDX, prepare

library = pytest.importorskip("tensorflow_datasets")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    """A cache of its own, no TFDS directory of the user, and no network: a connection fails the test."""

    def refuse(*_, **__):
        raise AssertionError("the network was used")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))


def register(monkeypatch, name: str, folder: Path) -> None:
    """Makes the files of a folder the originals: TFDS's registered sums, for this test, are theirs."""
    infos = library.builder_cls(name).url_infos
    for url, info in infos.items():
        file = folder / url.rpartition("/")[2]
        if file.is_file():
            data = file.read_bytes()
            own = dataclasses.replace(info, size=len(data), checksum=hashlib.sha256(data).hexdigest())
            monkeypatch.setitem(infos, url, own)


def write_idx(folder: Path, n: int = 30, m: int = 7) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The four files of MNIST with few images; returns them by split."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for split, count, (images, labels) in (("train", n, IDX[:2]), ("test", m, IDX[2:])):
        x, y = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8), RNG.integers(0, 10, count, dtype=np.uint8)
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (folder / images).write_bytes(gzip.compress(header + x.tobytes()))
        (folder / labels).write_bytes(gzip.compress(struct.pack(">II", 2049, count) + y.tobytes()))
        arrays[split] = (x[..., None], y)
    return arrays


def pairs(images, labels) -> list[tuple[bytes, int]]:
    return sorted((x.tobytes(), int(y)) for x, y in zip(images, labels, strict=True))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_prepared_idx_round_trip(tmp_path, monkeypatch, name):
    arrays = write_idx(tmp_path / "files")
    register(monkeypatch, name, tmp_path / "files")
    done = prepare(name, tmp_path / "files", tmp_path / "tfds")
    assert (done.name, done.counts) == (f"{name}/3.0.1", {"train": 30, "test": 7})
    assert str(done) == f"{name}/3.0.1 (train 30, test 7) in {tmp_path / 'tfds' / name / '3.0.1'}"
    assert [p.name for p in (tmp_path / "tfds").iterdir()] == [name]
    data = source(f"tfds:{name},data_dir={tmp_path / 'tfds'}").load()
    assert (data.name, data.levels, data.shape) == (name, 256, (28, 28, 1))
    assert (len(data.train), len(data.valid), len(data.test)) == (27, 3, 7)
    assert "tenth" in data.protocol
    assert pairs(data.test.image, data.test.label) == pairs(*arrays["test"])
    both = pairs(data.train.image, data.train.label) + pairs(data.valid.image, data.valid.label)
    assert sorted(both) == pairs(*arrays["train"])
    assert data.train.label.dtype == np.int32
    # TFDS itself reads the folder as its own, and says the same.
    records = library.data_source(name, split="test", data_dir=tmp_path / "tfds", download=False)
    assert [r["image"].tobytes() for r in records] == [x.tobytes() for x in data.test.image]
    assert "tensorflow" not in sys.modules


def test_second_load_needs_neither_tfds_nor_decoding(tmp_path, monkeypatch):
    write_idx(tmp_path)
    register(monkeypatch, "mnist", tmp_path)
    prepare("mnist", tmp_path)  # into $TFDS_DATA_DIR
    first = tfds("mnist").load()
    monkeypatch.setattr(sys.modules[tfds.__module__], "library", None)  # would fail if it were called
    again = source("tfds:mnist:3.0.1").load()
    assert isinstance(again.train.image, np.memmap)
    assert (again.train.image == first.train.image).all()
    assert again.protocol == first.protocol


def test_preparing_again_changes_nothing(tmp_path, monkeypatch):
    write_idx(tmp_path / "files")
    register(monkeypatch, "mnist", tmp_path / "files")
    first = prepare("mnist", tmp_path / "files", tmp_path / "tfds")
    shutil.rmtree(tmp_path / "files")
    assert prepare("mnist", tmp_path / "files", tmp_path / "tfds") == first


def test_prepared_binarized_mnist_equals_its_files(tmp_path, monkeypatch):
    bits = {}
    for file, n in zip(AMAT, (9, 4, 5), strict=True):
        bits[file] = RNG.integers(0, 2, (n, 784), dtype=np.uint8)
        (tmp_path / file).write_text("".join(" ".join(map(str, row)) + "\n" for row in bits[file]))
    register(monkeypatch, "binarized_mnist", tmp_path)
    done = prepare("binarized_mnist", tmp_path, tmp_path / "tfds")
    assert done.counts == {"train": 9, "validation": 4, "test": 5}
    ours, files = binarized_mnist(tmp_path / "tfds").load(), binarized_mnist(tmp_path).load()
    assert ours.protocol == files.protocol
    assert ours.levels == 2
    assert ours.train.label is None
    for split in ("train", "valid", "test"):
        one, two = getattr(ours, split).image, getattr(files, split).image
        assert sorted(x.tobytes() for x in one) == sorted(x.tobytes() for x in two)


def cifar_archive(file: Path, n: int = 4, truncated: str = "") -> tuple[np.ndarray, np.ndarray]:
    """An archive laid out as cifar-10-binary.tar.gz, with n images a batch."""
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    image = RNG.integers(0, 256, (len(names), n, 32, 32, 3), dtype=np.uint8)
    label = RNG.integers(0, 10, (len(names), n), dtype=np.uint8)
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    contents = {"batches.meta.txt": ("\n".join(classes) + "\n\n").encode()}
    for name, x, y in zip(names, image, label, strict=True):
        rows = np.concatenate([y[:, None], x.transpose(0, 3, 1, 2).reshape(n, -1)], axis=1)
        contents[name] = rows.tobytes()[: -5 if name == truncated else None]
    with tarfile.open(file, "w:gz") as tar:
        for name, data in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return image, label


def test_prepared_cifar10_from_a_synthetic_archive(tmp_path, monkeypatch):
    image, label = cifar_archive(tmp_path / "cifar-10-binary.tar.gz")
    register(monkeypatch, "cifar10", tmp_path)
    assert prepare("cifar10", tmp_path, tmp_path / "tfds").counts == {"train": 20, "test": 4}
    data = tfds("cifar10", tmp_path / "tfds").load()
    assert (data.shape, data.levels) == ((32, 32, 3), 256)
    assert pairs(data.test.image, data.test.label) == pairs(image[5], label[5])
    both = pairs(data.train.image, data.train.label) + pairs(data.valid.image, data.valid.label)
    assert sorted(both) == pairs(image[:5].reshape(-1, 32, 32, 3), label[:5].reshape(-1))
    builder = library.builder("cifar10", data_dir=tmp_path / "tfds")
    assert builder.info.features["label"].names[3] == "cat"
    ids = [r["id"].decode() for r in builder.as_data_source("train")]
    assert sorted(ids) == [f"train_{i:05d}" for i in range(20)]


def test_a_preparation_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    cifar_archive(tmp_path / "cifar-10-binary.tar.gz", truncated="data_batch_3.bin")
    register(monkeypatch, "cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"cifar-10-binary.tar.gz: data_batch_3.bin is truncated: .*found 12287"):
        prepare("cifar10", tmp_path, tmp_path / "tfds")
    assert not [p for p in (tmp_path / "tfds").rglob("*") if p.is_file()]
    with pytest.raises(UsageError, match=r"tfds:cifar10 is not prepared"):
        tfds("cifar10", tmp_path / "tfds").load()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    register(monkeypatch, "cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"cifar-10-binary.tar.gz: cannot be unpacked: not a gzip file"):
        prepare("cifar10", tmp_path, tmp_path / "tfds")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("readme.html"))
    register(monkeypatch, "cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"wanted cifar-10-batches-bin/batches.meta.txt, found readme.html"):
        prepare("cifar10", tmp_path, tmp_path / "tfds")


def test_a_full_disk_and_a_wrong_place(tmp_path, monkeypatch):
    write_idx(tmp_path)
    register(monkeypatch, "mnist", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: mnist cannot be written: .*Not a directory"):
        prepare("mnist", tmp_path, tmp_path / "file")

    def full(*_):
        raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr(library.core.writer.Writer, "finalize", full)
    with pytest.raises(UsageError, match=r"tfds: mnist cannot be written: .*No space left"):
        prepare("mnist", tmp_path, tmp_path / "tfds")
    assert not [p for p in (tmp_path / "tfds").rglob("*") if p.is_file()]


def test_tfrecords_are_told_from_what_serves(tmp_path, monkeypatch):
    write_idx(tmp_path)
    register(monkeypatch, "mnist", tmp_path)
    info = prepare("mnist", tmp_path, tmp_path / "tfds").folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UsageError, match=r"holds tfrecord files.*jaxgen data prepare mnist --from FOLDER --to ANOTHER"):
        tfds("mnist", tmp_path / "tfds").load()
    with pytest.raises(UsageError, match=r"mnist is there in another file format.*--to FOLDER"):
        prepare("mnist", tmp_path, tmp_path / "tfds")


def test_prepare_wants_the_originals(tmp_path):
    with pytest.raises(UsageError, match=r"cannot prepare 'minst'; known are mnist, fashion_mnist"):
        prepare("minst", tmp_path)
    with pytest.raises(
        UsageError, match=r"train-images-idx3-ubyte.gz, .* missing, but there is no such folder.*https://"
    ):
        prepare("mnist", tmp_path / "none")
    write_idx(tmp_path)
    (tmp_path / IDX[3]).unlink()
    with pytest.raises(UsageError, match=rf"{tmp_path}: {IDX[3]} missing"):
        prepare("mnist", tmp_path)
    write_idx(tmp_path)
    with pytest.raises(UsageError, match=rf"{IDX[0]}: not the original file: wanted 9912422 bytes of sha256 440fcabf"):
        prepare("mnist", tmp_path, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


# What is not there


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", "is not prepared in .*: jaxgen data prepare mnist --from FOLDER$"),
        ("cifar10", "With cifar-10-binary.tar.gz in a folder, run: jaxgen data prepare cifar10 --from FOLDER$"),
        ("cars196", r"need TensorFlow .*: python -c .*tfds.builder\('cars196', file_format='array_record'\)"),
        ("imagenet_resized/32x32", r"tfds.builder\('imagenet_resized/32x32', file_format"),
        ("fashion_mnits", "TFDS knows no such data set.*nearest: fashion_mnist"),
    ],
)
def test_a_missing_data_set_says_what_to_type(name, message):
    with pytest.raises(UsageError, match=message):
        tfds(name).load()
    assert "tensorflow" not in sys.modules


def test_a_chosen_directory_is_part_of_the_command(tmp_path):
    with pytest.raises(UsageError, match=rf"prepare mnist --from FOLDER --to {tmp_path}$"):
        tfds("mnist", tmp_path).load()
    with pytest.raises(UsageError, match=rf"'cars196', data_dir='{tmp_path}', file_format"):
        tfds("cars196", tmp_path).load()


def test_binarized_mnist_without_a_path_names_all_ways():
    with pytest.raises(UsageError, match=r"prepare binarized_mnist --from FOLDER. Or give .*: binarized_mnist:PATH"):
        source("binarized_mnist").load()


def test_a_preparation_cut_short_is_not_taken_for_data(tmp_path):
    cut = tmp_path / "mnist" / "incomplete.AB12CD_3.0.1"
    cut.mkdir(parents=True)
    (cut / "features.json").touch()
    with pytest.raises(UsageError, match="tfds:mnist is not prepared"):
        tfds("mnist", tmp_path).load()


def test_without_the_library_the_message_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UsageError, match="pip install tensorflow-datasets importlib_resources"):
        tfds("cars196").load()
    with pytest.raises(UsageError, match="pip install tensorflow-datasets"):
        prepare("mnist", ".")


# Any image data set: made here by a builder of our own


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def made(root: Path, features: dict, splits: dict[str, list[dict]], version: str = "1.0.0", config: str = "") -> Path:
    """Prepares a data set `made` with these features and examples in `root`."""
    with library.core.registered.skip_registration():

        class Made(library.core.GeneratorBasedBuilder):
            VERSION = library.core.Version(version)
            BUILDER_CONFIGS = [library.core.BuilderConfig(name=config)] if config else []
            name = "made"

            def _info(self):
                return library.core.DatasetInfo(builder=self, features=library.features.FeaturesDict(features))

            def _split_generators(self, dl_manager):
                return {key: self._generate_examples(key) for key in splits}

            def _generate_examples(self, key):
                yield from enumerate(splits[key])

    builder = Made(data_dir=str(root), file_format="array_record")
    builder.download_and_prepare(download_dir=str(root / "downloads"))
    return Path(builder.data_dir)


def rgb(h: int, w: int, value: int) -> bytes:
    return png(np.full((h, w, 3), value, np.uint8))


def picture(**kwargs):
    return library.features.Image(**{"encoding_format": "png", **kwargs})


def test_official_validation_split_and_any_label_name(tmp_path):
    features = {"image": picture(shape=(4, 6, 3)), "kind": library.features.ClassLabel(num_classes=9), "w": np.float32}
    rows = {s: [{"image": rgb(4, 6, i), "kind": i, "w": 0.5} for i in range(n)] for s, n in
            (("train", 9), ("validation", 3), ("test", 2), ("extra", 1))}  # fmt: skip
    made(tmp_path, features, rows)
    data = source(f"tfds:made,data_dir={tmp_path},label=kind").load()
    assert data.shape == (4, 6, 3)
    assert (len(data.train), len(data.valid), len(data.test)) == (9, 3, 2)
    assert data.protocol == "TFDS made/1.0.0, official split"
    assert (data.train.image[:, 0, 0, 0] == data.train.label).all()
    assert tfds("made", tmp_path).load().train.label is None
    with pytest.raises(UsageError, match=r"wanted an integer feature 'w'.*found image \(Image\), kind \(ClassLabel\)"):
        tfds("made", tmp_path, label="w").load()
    with pytest.raises(UsageError, match="wanted an image feature 'pixels', found image"):
        tfds("made", tmp_path, image="pixels").load()


def test_pictures_of_several_sizes_are_fitted_on_request(tmp_path):
    rows = [{"image": rgb(4 + i % 3, 8, 20 * i)} for i in range(10)]
    made(tmp_path, {"image": picture(shape=(None, None, 3))}, {"train": rows})
    with pytest.raises(UsageError, match=r"train example \d+: its shape is .* others have .*crop=square,resize=32"):
        tfds("made", tmp_path).load()
    data = source(f"tfds:made,data_dir={tmp_path},crop=4,resize=2").load()
    assert data.shape == (2, 2, 3)
    assert data.test is None
    values = sorted([*data.train.image[:, 0, 0, 0], *data.valid.image[:, 0, 0, 0]])
    assert values == [20 * i for i in range(10)]
    assert "cropped to 4x4, resized to 2x2" in data.protocol


def test_data_sets_that_do_not_serve(tmp_path):
    made(tmp_path / "a", {"x": np.int64}, {"train": [{"x": 1}]})
    with pytest.raises(UsageError, match=r"wanted an image feature, found x"):
        tfds("made", tmp_path / "a").load()
    two = {"left": picture(shape=(2, 2, 3)), "right": picture(shape=(2, 2, 3))}
    made(tmp_path / "b", two, {"train": [{"left": rgb(2, 2, 1), "right": rgb(2, 2, 2)}] * 3})
    with pytest.raises(UsageError, match="several image features, left, right; choose one: image=left"):
        tfds("made", tmp_path / "b").load()
    assert tfds("made", tmp_path / "b", image="right").load().train.image.max() == 2
    deep = {"image": picture(shape=(2, 2, 1), dtype=np.uint16)}
    made(tmp_path / "c", deep, {"train": [{"image": png(np.full((2, 2), 300, np.uint16))}] * 3})
    with pytest.raises(UsageError, match="wanted images of uint8, found uint16 in feature 'image'"):
        tfds("made", tmp_path / "c").load()
    made(tmp_path / "d", {"image": picture(shape=(2, 2, 3))}, {"every": [{"image": rgb(2, 2, 1)}]})
    with pytest.raises(UsageError, match="wanted a split named train, found every"):
        tfds("made", tmp_path / "d").load()


def test_versions_and_configurations(tmp_path):
    features = {"image": picture(shape=(2, 2, 3))}
    for version, value in (("1.9.0", 1), ("1.10.0", 2)):
        made(tmp_path, features, {"train": [{"image": rgb(2, 2, value)}] * 4}, version)
    assert tfds("made", tmp_path).load().train.image.max() == 2  # 1.10 is later than 1.9
    assert tfds("made:1.9.0", tmp_path).load().train.image.max() == 1
    with pytest.raises(UsageError, match=r"made:3.0.0 is not prepared in .*prepared there: made/1.10.0, made/1.9.0"):
        tfds("made:3.0.0", tmp_path).load()
    for config, value in (("small", 3), ("large", 4)):
        made(tmp_path / "c", features, {"train": [{"image": rgb(2, 2, value)}] * 4}, "1.0.0", config)
    assert tfds("made/large", tmp_path / "c").load().train.image.max() == 4
    with pytest.raises(UsageError, match="choose one of tfds:made/large, tfds:made/small"):
        tfds("made", tmp_path / "c").load()


def test_damaged_folders_are_named(tmp_path):
    home = made(tmp_path, {"image": picture(shape=(2, 2, 3))}, {"train": [{"image": rgb(2, 2, 1)}] * 4})
    (record,) = home.glob("*.array_record*")
    whole = record.read_bytes()
    record.write_bytes(whole[:100])
    with pytest.raises(UsageError, match=r"made/1.0.0: .*cannot"):
        tfds("made", tmp_path).load()
    record.write_bytes(whole)
    (home / "dataset_info.json").write_text("{")
    with pytest.raises(UsageError, match=r"made/1.0.0: TFDS cannot read it"):
        tfds("made", tmp_path).load()
