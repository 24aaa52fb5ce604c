"""Files as PyTorch writes them, made here byte by byte, read without it."""

import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.torch_file import MAGIC, read_state_dict

NUMBERS = np.arange(12, dtype=np.float32)
VIEWS = {"whole": (0, (3, 4), (4, 1)), "turned": (1, (4, 2), (1, 4)), "one": (5, (), ())}
EXPECTED = {"whole": NUMBERS.reshape(3, 4), "turned": NUMBERS.reshape(3, 4)[:2].T + 1, "one": NUMBERS[5]}


class Tensor:
    """Pickles as a tensor of PyTorch does."""

    def __init__(self, view):
        self.view = view

    def __reduce__(self):
        start, shape, strides = self.view
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (NUMBERS, start, shape, strides, False, {})


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return ("storage", sys.modules["torch"].FloatStorage, "7", "cpu", 12) if value is NUMBERS else None


@pytest.fixture
def pickled(monkeypatch):
    """A state dict as PyTorch pickles it, under modules of its names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    utils._rebuild_tensor_v2 = types.FunctionType((lambda *a: a).__code__, {}, "_rebuild_tensor_v2")
    utils._rebuild_tensor_v2.__module__, torch._utils = "torch._utils", utils
    utils._rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def dumped(views):
        file = io.BytesIO()
        Pickler(file, 2).dump(collections.OrderedDict((name, Tensor(view)) for name, view in views.items()))
        return file.getvalue()

    return dumped


def zipped(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", data)
        archive.writestr("net/data/7", NUMBERS.tobytes())
    return path


def test_both_forms_give_the_tensors(pickled, tmp_path):
    older = [pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True})]
    older += [pickled(VIEWS), pickle.dumps(["7"], 2), (12).to_bytes(8, "little"), NUMBERS.tobytes()]
    (tmp_path / "older.pth").write_bytes(b"".join(older))
    for path in (zipped(tmp_path / "zip.pth", pickled(VIEWS)), tmp_path / "older.pth"):
        arrays = read_state_dict(path)
        assert {*arrays} == {*EXPECTED}
        for name, array in EXPECTED.items():
            np.testing.assert_array_equal(arrays[name], array)
    (tmp_path / "older.pth").write_bytes(b"".join(older)[:-8])
    with pytest.raises(UsageError, match="truncated: wanted 12 numbers, got 10"):
        read_state_dict(tmp_path / "older.pth")


def test_nothing_but_tensors_is_read(pickled, tmp_path):
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return ran.touch, ()

    for data, part in (
        (pickle.dumps({"a": Harm()}), "only tensors are read"),
        (pickle.dumps([1, 2]), "wanted tensors by name, a state dict, got list"),
        (pickled({"far": (0, (4, 4), (4, 1))}), r"tensor \[4, 4\] reaches beyond its 12 numbers"),
        (pickled({"back": (4, (2,), (-1,))}), "reaches beyond"),
        (b"no pickle", "cannot be read as a state dict"),
    ):
        with pytest.raises(UsageError, match=part):
            read_state_dict(zipped(tmp_path / "net.pth", data))
    assert not ran.exists()
