"""The cache saves time and is no reason to stop: worn entries, other users' entries, no home, no folder to write to."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data.cache import cached
from jaxgen.data.tfds import data_home
from jaxgen.engine.devices import cpu


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("JAXGEN_CACHE", str(path))
    return path


def fill(allocate):
    allocate("a", (3, 2), np.uint8)[:] = 5
    allocate("b", (4,), np.int32)[:] = np.arange(4)


@pytest.mark.parametrize("worn", ["a.npy", "b.npy", "contents.json", None])
def test_an_entry_that_lacks_an_array_or_is_damaged_is_made_again(cache, worn):
    cached("x", [4], fill)
    (entry,) = (cache / "data").iterdir()
    if worn is None:
        (entry / "a.npy").unlink()
    else:
        (entry / worn).write_bytes(b"")
    assert cached("x", [4], fill)["a"].tolist() == [[5, 5]] * 3
    assert [path.name for path in (cache / "data").iterdir()] == [entry.name]
    assert cached("x", [4], pytest.fail)["b"].tolist() == [0, 1, 2, 3]  # and now it is whole


def test_an_entry_is_as_private_as_the_umask_says(cache):
    before = os.umask(0o027)
    try:
        cached("x", [5], fill)
    finally:
        os.umask(before)
    (entry,) = (cache / "data").iterdir()
    assert [oct(path.stat().st_mode & 0o777) for path in (entry, entry / "a.npy")] == ["0o750", "0o640"]


def test_an_entry_of_another_user_that_cannot_be_read_leaves_the_arrays_in_memory(cache, monkeypatch):
    cached("x", [6], fill)
    (entry,) = (cache / "data").iterdir()

    def refused(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr(Path, "rename", refused)
    with pytest.warns(UserWarning, match="stay in memory"):
        assert cached("x", [6], fill)["b"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in (cache / "data").iterdir()] == [entry.name]


def test_without_a_home_the_arrays_stay_in_memory(monkeypatch):
    import pwd

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "JAXGEN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.warns(UserWarning, match="there is no home; set JAXGEN_CACHE"):
        assert cached("x", [7], fill)["b"].tolist() == [0, 1, 2, 3]
    assert data_home().name == "tensorflow_datasets"
    assert _programs_kept(monkeypatch) is None


def test_programs_are_kept_in_a_cache_that_can_be_written_and_in_no_other(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _programs_kept(monkeypatch) == str(tmp_path / "jaxgen" / "xla")
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _programs_kept(monkeypatch) is None


def _programs_kept(monkeypatch):
    """The folder that the command line gives jax for its programs."""

    class Config:
        values = {"jax_compilation_cache_dir": None}

        def update(self, name, value):
            self.values = {**self.values, name: value}

    with monkeypatch.context() as patch:
        patch.setattr(cpu.jax, "config", config := Config())
        cpu._cache_programs()
    return config.values["jax_compilation_cache_dir"]
