"""Files of tensors: what comes back, that no crash costs the previous file, and that no file can do harm."""

import errno
import importlib
import io
import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
import nn
from autodiff.persistence import files
from autodiff.persistence.files import replace_file
from autodiff.persistence.saving import load, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[".npz", ".safetensors"])
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return request.param


def assert_same(state, expected):
    assert set(state) == set(expected)
    for name, value in expected.items():
        value = np.asarray(value.data if isinstance(value, ad.Tensor) else value)
        assert isinstance(state[name], ad.Tensor) and not state[name].requires_grad
        native = value.astype(value.dtype.newbyteorder("="))
        np.testing.assert_array_equal(state[name].data, native, strict=True)


# What is saved comes back

_DTYPES = st.sampled_from("f2 f4 f8 >f4 >f8 c8 c16 >c16 i1 i2 i4 i8 >i4 u1 u2 u4 u8 ?".split())
_ARRAYS = _DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=60)
@given(tensors=st.dictionaries(_NAMES.filter(lambda n: n != "__metadata__"), _ARRAYS, max_size=4), data=st.data())
def test_arrays_of_every_shape_dtype_layout_and_name_come_back(tensors, data, tmp_path_factory):
    tensors = {n: data.draw(st.sampled_from([a, a.T, a[..., ::-1] if a.ndim else a])) for n, a in tensors.items()}
    folder = tmp_path_factory.mktemp("files")
    for suffix in (".npz", ".safetensors"):
        if suffix == ".safetensors":
            pytest.importorskip("safetensors")
        save(tensors, folder / f"a{suffix}")
        assert_same(load(folder / f"a{suffix}"), tensors)


def test_tensors_numbers_and_lists_are_saved_and_graphs_are_not(suffix, tmp_path):
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    path = str(tmp_path / f"a{suffix.upper()}")
    save({"x": x, "y": x * x, "n": 3, "list": [[1.0], [2.0]], "file": np.float32(1)}, path)
    assert_same(load(path), {"x": [1.0, 2.0], "y": [1.0, 4.0], "n": 3, "list": [[1.0], [2.0]], "file": np.float32(1)})
    save({}, path)
    assert load(path) == {}
    load(path)["new"] = 1


def test_loaded_tensors_own_memory_that_can_be_written(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    save({"w": np.arange(4.0)}, path)
    w = load(path)["w"]
    w.data += 1.0
    assert w.tolist() == [1.0, 2.0, 3.0, 4.0] and load(path)["w"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_complex_tensors_come_back_and_others_can_read_them(suffix, tmp_path):
    z = np.array([[1 - 2j, np.nan * 1j], [np.inf, -0.0]])
    given = {kind: z.astype(kind) for kind in ("complex64", ">c8", "complex128", ">c16")}
    given |= {"number": np.complex128(2j), "none": z[:0], "real": z.real, "turned": z.T}
    path = tmp_path / f"a{suffix}"
    save(given, path)
    assert_same(load(path), given)
    if suffix == ".npz":
        np.testing.assert_array_equal(np.load(path)["complex128"], z)
    else:
        theirs = importlib.import_module("safetensors.numpy").load_file(path)
        np.testing.assert_array_equal(theirs["complex64"], z.astype("complex64"))
        np.testing.assert_array_equal(theirs["complex128"], np.stack([z.real, z.imag], -1))


def test_a_library_without_a_dtype_is_named(tmp_path, monkeypatch):
    library = pytest.importorskip("safetensors.numpy")

    def save_real_numbers(arrays):
        raise importlib.import_module("safetensors").SafetensorError("dtype complex64 is not covered")

    monkeypatch.setattr(library, "save", save_real_numbers)
    with pytest.raises(TypeError, match=r"this version of the safetensors library cannot write .*complex64.*use \.npz"):
        save({"z": np.ones(2, "complex64")}, tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_file_that_names_other_arrays_as_complex_than_it_holds_is_refused(tmp_path):
    files = pytest.importorskip("safetensors.numpy")
    for said in ("1", '["b"]', '["a"', '["w"]', "[" * 5000, '["n"]'):
        arrays = {"a": np.zeros((3, 2)), "w": np.zeros((2, 3)), "n": np.zeros((3, 2), "f4")}
        files.save_file(arrays, tmp_path / "a.safetensors", metadata={"autodiff.complex128": said})
        with pytest.raises(ValueError, match="of complex128 it says"):
            load(tmp_path / "a.safetensors")


def test_equal_tensors_give_equal_files(suffix, tmp_path):
    for name in "ab":
        save({"x": np.arange(3.0), "y": 1}, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_numpy_reads_what_is_saved_and_what_numpy_saves_is_read(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"x": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.array(True), "long": np.longdouble(1.5)}
    save(arrays, path)
    with np.load(path, allow_pickle=False) as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], array)
    for write in (np.savez, np.savez_compressed):
        write(path, **arrays)
        assert_same(load(path), arrays)


def test_the_safetensors_library_reads_what_is_saved_and_the_reverse(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "a.safetensors"
    arrays = {"x": np.arange(6.0).reshape(2, 3).T, "half": np.float16([1.5]), "flags": np.array([True, False])}
    save(arrays, path)
    for name, array in library.load_file(path).items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
    library.save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, path, metadata={"format": "np"})
    assert_same(load(path), arrays)


def test_bfloat16_becomes_float32_exactly(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    values = torch.tensor([[1.0, -0.0, 3.140625, 1e-40], [float("inf"), float("-inf"), float("nan"), 3e38]])
    tensors = {"b": values.bfloat16(), "scalar": torch.tensor(2.5).bfloat16(), "empty": torch.zeros(0, 2).bfloat16(),
               "half": values.half(), "single": values}  # fmt: skip
    files.save_file(tensors, path)
    assert_same(load(path), {n: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for n, t in tensors.items()})


def test_dtypes_that_numpy_does_not_have_are_named(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    files.save_file({"f8": torch.zeros(2).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(ValueError, match=r"a.safetensors: 'f8' has dtype F8_E4M3"):
        load(path)


# Models


def test_a_model_comes_back_with_its_buffers(suffix, tmp_path):
    model, other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for m, value in ((model, 5.0), (other, 0.0)):
        m.register_buffer("mean", np.full(2, value))
    path = tmp_path / f"model{suffix}"
    nn.save(model, path)
    other.load_state_dict(nn.load(path))
    assert_same(other.state_dict(), model.state_dict())
    nn.save({k: v for k, v in model.state_dict().items() if k != "mean"}, path)
    with pytest.raises(RuntimeError, match="mean: missing"):
        other.load_state_dict(nn.load(path))
    with pytest.raises(TypeError, match="takes a module or its state_dict"):
        nn.save([model], path)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_a_pytorch_model_saved_with_safetensors_loads_by_name_with_the_same_outputs_and_gradients(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).to(
        getattr(torch, dtype)
    )
    files.save_model(theirs, str(tmp_path / "model.safetensors"))
    mine = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    mine.load_state_dict(nn.load(tmp_path / "model.safetensors"))
    theirs = theirs.double()
    x = np.random.default_rng(0).normal(size=(5, 3))
    y, z = mine(x), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)


def test_tied_weights_load_as_pytorchs_save_model_writes_them_once(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")

    def tied(library):
        model = library.nn.Sequential(library.nn.Linear(3, 3), library.nn.Linear(3, 3, bias=False))
        model[1].weight = model[0].weight
        return model

    theirs = tied(torch)
    files.save_model(theirs, str(tmp_path / "model.safetensors"))
    state, mine = nn.load(tmp_path / "model.safetensors"), tied(SimpleNamespace(nn=nn))
    assert "1.weight" not in state and mine.load_state_dict(state) == ([], [])
    assert mine[1].weight is mine[0].weight
    np.testing.assert_array_equal(mine[1].weight.data, theirs[1].weight.detach().numpy())
    apart = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    with pytest.raises(RuntimeError, match=r"1\.weight: missing"):
        apart.load_state_dict(state)


def test_tied_weights_are_written_as_pytorchs_save_model_writes_them_and_load_there(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    safetensors = pytest.importorskip("safetensors")

    def tied(library):
        first, embedding = library.nn.Linear(3, 5, bias=False), library.nn.Embedding(5, 3)
        model = library.nn.Sequential(embedding, library.nn.Tanh(), first, library.nn.Sequential(first))
        embedding.weight = first.weight
        return model

    mine, theirs = tied(SimpleNamespace(nn=nn)), tied(torch)
    nn.save(mine, tmp_path / "mine.safetensors")
    files.save_model(theirs, str(tmp_path / "theirs.safetensors"))
    found = {}
    for name in ("mine", "theirs"):
        with safetensors.safe_open(tmp_path / f"{name}.safetensors", "numpy") as file:
            notes = {key: kept for key, kept in file.metadata().items() if not key.startswith("autodiff.")}
            found[name] = [*file.keys()], notes
    assert found["mine"] == found["theirs"] == (["0.weight"], {"2.weight": "0.weight", "3.0.weight": "0.weight"})
    files.load_model(theirs, str(tmp_path / "mine.safetensors"))
    np.testing.assert_array_equal(theirs[2].weight.detach().numpy(), mine[2].weight.data)
    other = tied(SimpleNamespace(nn=nn))
    assert other.load_state_dict(nn.load(tmp_path / "mine.safetensors")) == ([], [])
    assert other[0].weight is other[2].weight
    np.testing.assert_array_equal(other[2].weight.data, mine[2].weight.data)
    nn.save(mine, tmp_path / "mine.npz")
    assert {*np.load(tmp_path / "mine.npz")} == {"0.weight", "2.weight", "3.0.weight"}


def test_pytorch_loads_a_model_saved_here(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    mine = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    nn.save(mine, tmp_path / "model.safetensors")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    theirs.load_state_dict(files.load_file(tmp_path / "model.safetensors"))
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(mine(x).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


# What cannot be saved


def test_what_cannot_be_saved_is_refused_by_name_before_a_file_is_made(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    for tensors, kind, words in [
        ({"o": np.array([{}])}, TypeError, "'o' has dtype object"),
        ({"n": None}, TypeError, "'n' has dtype object"),
        ({"s": "text"}, TypeError, "'s' has dtype <U4"),
        ({"r": [[1.0], [1.0, 2.0]]}, TypeError, "'r' is no array"),
        ({1: np.ones(2)}, TypeError, "names are strings, not 1"),
        ({"\ud800": 1.0}, ValueError, "UTF-8"),
        ([np.ones(2)], TypeError, "takes a dict"),
    ]:
        with pytest.raises(kind, match=words):
            save(tensors, path)
        assert os.listdir(tmp_path) == []
    special = {".npz": [({"a\0b": 1.0}, ValueError)],
               ".safetensors": [({"__metadata__": 1.0}, ValueError), ({"l": np.longdouble(1)}, TypeError)]}  # fmt: skip
    for tensors, kind in special[suffix]:
        with pytest.raises(kind, match="save: "):
            save(tensors, path)
        assert os.listdir(tmp_path) == []


def test_the_suffix_says_the_format_and_others_are_refused(tmp_path):
    for name in ["model", "model.pt", "model.pkl", ".npz"]:
        with pytest.raises(ValueError, match=r"save: .*name.safetensors or name.npz, not "):
            save({}, tmp_path / name)
        with pytest.raises(ValueError, match=r"load: .*name.safetensors or name.npz, not "):
            load(tmp_path / name)


def test_without_the_safetensors_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    (tmp_path / "b.safetensors").write_bytes(bytes(16))
    for call in (lambda: save({}, tmp_path / "a.safetensors"), lambda: load(tmp_path / "b.safetensors")):
        with pytest.raises(ImportError, match=r"pip install safetensors .*\.npz"):
            call()
    assert os.listdir(tmp_path) == ["b.safetensors"]
    save({"x": 1.0}, tmp_path / "a.npz")
    assert load(tmp_path / "a.npz")["x"].item() == 1.0


# Files are replaced as a whole or not at all


class FullDisk(io.RawIOBase):
    """A file on a disk with room for a few bytes more."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def writable(self):
        return True

    def write(self, data):
        data = memoryview(data).cast("B")
        if len(data) > self._room:
            self._file.write(data[: self._room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= len(data)
        return self._file.write(data)

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()
        super().close()


@pytest.mark.parametrize("room", [0, 10, 300, 5000])
def test_a_full_disk_leaves_the_previous_file_and_nothing_else(room, suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    save({"x": np.arange(3.0)}, path)
    monkeypatch.setattr(files, "open", lambda name, mode: FullDisk(open(name, mode), room), raising=False)
    with pytest.raises(OSError, match="No space left") as caught:
        save({"x": np.zeros(1000), "y": np.zeros(1000)}, path)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [path.name] and load(path)["x"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_at_any_step_leaves_the_previous_file_and_nothing_else(step, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    save({"x": 1.0}, path)

    def fails(*args, **options):
        raise OSError(errno.EIO, "Input/output error", *map(str, args[:1]))

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="Input/output error") as caught:
        save({"x": 2.0}, path)
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.npz"] and load(path)["x"].item() == 1.0


def test_an_interrupt_while_writing_leaves_the_previous_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.npz"
    save({"x": 1.0}, path)

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, interrupted)
    assert os.listdir(tmp_path) == ["a.npz"] and load(path)["x"].item() == 1.0


def test_a_process_killed_in_the_middle_of_saving_leaves_the_previous_file(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    save({"x": np.arange(3.0)}, path)
    code = f"""
import os, signal, numpy as np
from autodiff.persistence import saving
fsync = os.fsync
def killed(descriptor):
    fsync(descriptor)
    assert os.fstat(descriptor).st_size > 8000
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed
saving.save({{"x": np.zeros(1000)}}, {str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert load(path)["x"].tolist() == [0.0, 1.0, 2.0] and len(os.listdir(tmp_path)) == 2
    save({"x": np.zeros(1)}, path)
    assert load(path)["x"].tolist() == [0.0] and os.listdir(tmp_path) == [path.name]


def test_the_new_file_is_on_the_disk_before_it_takes_the_old_one_s_place(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, f=function, n=name: (order.append(n), f(*a))[1])
    save({"x": 1.0}, tmp_path / "a.npz")
    assert order[:2] == ["fsync", "replace"]


def test_permissions_are_kept_new_files_follow_the_umask_and_links_are_followed(tmp_path):
    path = tmp_path / "a.npz"
    old = os.umask(0o027)
    try:
        save({"x": 1.0}, path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    save({"x": 2.0}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.npz"
    link.symlink_to(path)
    save({"x": 3.0}, link)
    assert link.is_symlink() and load(path)["x"].item() == 3.0 and os.listdir(tmp_path / "other") == ["link.npz"]


def test_file_errors_name_the_file(suffix, tmp_path):
    for action, path, kind in [
        (load, tmp_path / f"missing{suffix}", FileNotFoundError),
        (lambda p: save({}, p), tmp_path / "no" / "folder" / f"a{suffix}", FileNotFoundError),
        (load, tmp_path / f"folder{suffix}", IsADirectoryError),
        (lambda p: save({}, p), tmp_path / f"folder{suffix}", IsADirectoryError),
    ]:
        (tmp_path / f"folder{suffix}").mkdir(exist_ok=True)
        with pytest.raises(kind) as caught:
            action(path)
        assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == [f"folder{suffix}"]


def test_a_name_as_long_as_the_system_allows_can_be_saved(tmp_path):
    path = tmp_path / ("ü" * 120 + ".npz")
    save({"x": 1.0}, path)
    assert load(path)["x"].item() == 1.0


# Files that are cut short, foreign, or made to do harm


def test_every_cut_and_thousands_of_damaged_files_are_refused_by_name_or_read(suffix, tmp_path):
    path, damaged = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    save({"a": np.arange(6.0).reshape(2, 3), "b": np.float32(3), "c": np.zeros((0, 2), "int32")}, path)
    raw, draw = path.read_bytes(), random.Random(0)
    cut = [raw[:n] for n in range(0, len(raw), 3)]
    other = []
    for _ in range(1500):
        data, i = bytearray(raw), draw.randrange(len(raw))
        data[i : i + draw.randrange(4)] = draw.randbytes(draw.randrange(1, 4))
        other.append(bytes(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of duplicate names
        for data in cut + other:
            damaged.write_bytes(data)
            try:
                load(damaged)
            except ValueError as error:
                assert str(error).startswith(f"load: {damaged}: ")
            else:
                assert data not in cut
    assert load(path)["b"].item() == 3


def safetensors_file(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header, data, length",
    [
        ({}, b"", 2**63),
        ({}, b"", 10**9),
        ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12), None),
        ({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}, bytes(8), None),
        ({"a": entry([2], 8, 16)}, bytes(16), None),
        ({"a": entry([2], 0, 800)}, bytes(8), None),
        ({"a": entry([2], 8, 0)}, bytes(8), None),
        ({"a": entry([3], 0, 8)}, bytes(8), None),
        ({"a": entry([-2], 0, 8)}, bytes(8), None),
        ({"a": entry([2.0], 0, 8)}, bytes(8), None),
        ({"a": entry([2**62, 2**62], 0, 8)}, bytes(8), None),
        ({"a": entry([0] * 100, 0, 0)}, b"", None),
        ({"a": entry([2], 0, 8, "object")}, bytes(8), None),
        ({"a": entry([2], 0, 8)}, bytes(12), None),
        ({"a": 3}, b"", None),
        ([], b"", None),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
         b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4), None),
        (b"[" * 100_000, b"", None),
        (b'{"a": ' * 50_000, b"", None),
        (b"\xff\xfe", b"", None),
        (b"", b"", None),
    ],
)  # fmt: skip
def test_safetensors_files_that_contradict_themselves_are_refused(header, data, length, tmp_path):
    pytest.importorskip("safetensors")
    path = safetensors_file(tmp_path / "a.safetensors", header, data, length)
    with pytest.raises(ValueError, match=r"load: .*a\.safetensors: "):
        load(path)


def npy(shape, dtype="<f8", data=b"", version=(1, 0)):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (64 - (len(text) + 11) % 64) + "\n"
    return (
        b"\x93NUMPY"
        + bytes(version)
        + struct.pack("<H" if version == (1, 0) else "<I", len(text))
        + text.encode()
        + data
    )


def npz(path, *members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return path


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], object), allow_pickle=True)
    return file.getvalue()


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "members, words",
    [
        ([("a.npy", pickled())], "pickled Python objects, which are never read"),
        ([("a.npy", npy((10**15,)))], "shape .* does not fit its 0 bytes"),
        ([("a.npy", npy((2,), data=bytes(8)))], "does not fit"),
        ([("a.npy", npy((2,), data=bytes(24)))], "does not fit"),
        ([("a.npy", npy((-1,), data=bytes(8)))], "does not fit"),
        ([("a.npy", npy((0, 10**30)))], "shape that no array can have"),
        ([("a.npy", npy((0,) * 100))], "shape that no array can have"),
        ([("a.npy", npy((1,), "<U2", bytes(8)))], "has dtype <U2"),
        ([("a.npy", npy((1,), "<M8[s]", bytes(8)))], "has dtype datetime64"),
        ([("a.npy", npy((1,), [("x", "<f8")], bytes(8)))], "has dtype"),
        ([("a.npy", npy((1,), "nonsense", bytes(8)))], "is no npy file"),
        ([("a.npy", npy((1,), data=bytes(8), version=(3, 0)))], "version"),
        ([("a.npy", npy("(" * 5000))], "is no npy file"),
        ([("a.npy", b"not an array")], "is no npy file"),
        ([("a", npy((1,), data=bytes(8))), ("a.npy", npy((1,), data=bytes(8)))], "stands in it twice"),
        ([("a.npy", npy((1,), data=bytes(8))), ("a.npy", npy((1,), data=bytes(8)))], "stands in it twice"),
    ],
)
def test_npz_files_that_contradict_themselves_or_hold_objects_are_refused(members, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"load: .*a\.npz: .*{words}"):
        load(npz(tmp_path / "a.npz", *members))
    assert os.listdir(tmp_path) == ["a.npz"]  # nothing was unpickled


def test_members_named_like_paths_are_only_names(tmp_path):
    path = npz(tmp_path / "a.npz", ("../../evil.npy", npy((1,), data=bytes(8))), ("/etc/x.npy", npy((), data=bytes(8))))
    assert set(load(path)) == {"../../evil", "/etc/x"} and os.listdir(tmp_path) == ["a.npz"]


def test_zip_bombs_are_refused_before_they_expand(tmp_path):
    path = npz(tmp_path / "a.npz", ("a.npy", npy((10**7,), data=bytes(8 * 10**7))), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match=r"a.npz: expands from \d+ to 80000\d+ bytes, which is refused"):
        load(path)
    path = npz(tmp_path / "a.npz", ("a.npy", npy((10**5,), data=bytes(8 * 10**5))), compression=zipfile.ZIP_DEFLATED)
    assert load(path)["a"].shape == (10**5,)
    path = npz(tmp_path / "a.npz", ("a.npy", npy((1,), data=bytes(8))), compression=zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match="packed in a way that NumPy does not use"):
        load(path)


def test_members_that_overlap_are_refused(tmp_path):
    """A small file whose many entries all point to the same data."""
    data = npy((10**4,), data=bytes(8 * 10**4))
    path = npz(tmp_path / "a.npz", ("a.npy", data))
    raw = path.read_bytes()
    start = raw.rindex(b"PK\x01\x02")
    end = raw.rindex(b"PK\x05\x06")
    central = b"".join(raw[start:end].replace(b"a.npy", bytes([98 + i]) + b".npy") for i in range(20))
    tail = raw[end : end + 8] + struct.pack("<HHII", 20, 20, len(central), start) + raw[end + 20 :]
    path.write_bytes(raw[:start] + central + tail)
    with pytest.raises(ValueError, match="says that its arrays take more"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04K\x01.", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_foreign_files_are_refused_or_empty(content, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    if content.startswith(b"PK") and suffix == ".npz":
        assert load(path) == {}
        return
    with pytest.raises(ValueError, match=rf"load: .*a\{suffix}: is no"):
        load(path)


def test_loading_takes_little_more_memory_than_the_arrays(suffix, tmp_path):
    import tracemalloc

    path = tmp_path / f"a{suffix}"
    save({"x": np.ones(2_000_000, "float32")}, path)
    load(path)
    tracemalloc.start()
    try:
        state = load(path)
        assert tracemalloc.get_traced_memory()[1] < 1.2 * state["x"].nbytes
    finally:
        tracemalloc.stop()


# Damage that formats hide


def outcomes(path, contents, expected):
    """How many of these contents were refused; the others must give what was saved."""
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of duplicate names
        for content in contents:
            path.write_bytes(content)
            try:
                found = load(path)
            except ValueError as error:
                assert str(error).startswith(f"load: {path}: "), error
                refused += 1
            else:
                assert_same(found, expected)
                assert list(found) == list(expected)
    return refused


def flips(raw, seed=0):
    """Copies with one byte changed: one bit of it, all bits, or at random."""
    draw = random.Random(seed)
    for i, byte in enumerate(raw):
        for other in {byte ^ 1 << draw.randrange(8), byte ^ 255, draw.randrange(256)} - {byte}:
            yield raw[:i] + bytes([other]) + raw[i + 1 :]


SMALL = {"w": np.array([1.0, -2.0], "float32"), "ü": np.array(True), "n": np.array([3], "int16")}


def test_any_byte_changed_and_any_cut_is_an_error_or_changes_nothing(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    save({**SMALL, "z": np.array([1 + 2j])}, path)
    raw, expected = path.read_bytes(), {name: tensor.data for name, tensor in load(path).items()}
    assert outcomes(path, (raw[:n] for n in range(len(raw))), expected) == len(raw)
    assert outcomes(path, flips(raw), expected) > len(raw)
    assert outcomes(path, [raw + b"\0", raw + raw, b"\0" + raw], expected) == 3


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_any_byte_changed_and_any_cut_of_what_numpy_wrote_is_an_error_or_changes_nothing(write, tmp_path):
    path = tmp_path / "a.npz"
    write(path, **SMALL)
    raw = path.read_bytes()
    assert outcomes(path, (raw[:n] for n in range(len(raw))), SMALL) == len(raw)
    assert outcomes(path, flips(raw), SMALL) > len(raw)


def members(raw):
    """Where the directory of a zip archive starts, its entries, and its end."""
    start, end = raw.index(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    parts = raw[start:end].split(b"PK\x01\x02")[1:]
    return start, [b"PK\x01\x02" + part for part in parts], raw[end:]


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_an_npz_whose_directory_does_not_list_an_array_is_refused(hidden, tmp_path):
    """Although its end agrees with the directory, and zipfile and NumPy read the others without a word."""
    path = tmp_path / "a.npz"
    save(SMALL, path)
    raw = path.read_bytes()
    start, entries, end = members(raw)
    del entries[hidden]
    directory = b"".join(entries)
    end = end[:8] + struct.pack("<HHLL", 2, 2, len(directory), start) + end[20:]
    path.write_bytes(raw[:start] + directory + end)
    with np.load(path) as theirs:
        assert len(theirs.files) == 2
    with pytest.raises(ValueError, match=r"a\.npz: is damaged: it holds something"):
        load(path)


def test_an_npz_whose_end_counts_more_arrays_than_its_directory_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    save(SMALL, path)
    raw = path.read_bytes()
    start, entries, end = members(raw)
    path.write_bytes(raw[:start] + b"".join(entries) + end[:10] + struct.pack("<H", 4) + end[12:])
    with np.load(path) as theirs:
        assert len(theirs.files) == 3
    with pytest.raises(ValueError, match=r"a\.npz: is damaged: it says that 4 arrays are listed .* but 3 are"):
        load(path)


def test_an_npz_written_to_a_pipe_with_a_comment_or_a_second_end_is_read(tmp_path):
    """Archives that differ from those that save writes: descriptors after the members, a comment, a second end."""
    path = tmp_path / "a.npz"

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in SMALL.items():
            with archive.open(f"{name}.npy", "w") as inside:
                np.lib.format.write_array(inside, array)
        archive.comment = b"trained on a Sunday"
    path.write_bytes(pipe.content)
    assert_same(load(path), SMALL)
    save(SMALL, path)
    start, entries, end = members(path.read_bytes())
    body = path.read_bytes()[: -len(end)]  # and as if there were more of everything than the first end can say
    second = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, len(body) - start, start)
    locator, first = struct.pack("<4sLQL", b"PK\6\7", 0, len(body), 1), end[:8] + b"\xff" * 12 + end[20:]
    path.write_bytes(body + second + locator + first)
    assert_same(load(path), SMALL)
    path.write_bytes(body + second.replace(b"PK\6\6", b"PK\6\0") + locator + first)
    with pytest.raises(ValueError, match=r"a\.npz: is "):
        load(path)


def test_files_without_a_checksum_of_ours_are_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "a.safetensors"
    for metadata in (None, {}, {"sha256": "x", "format": "np"}):
        library.save_file({"x": np.ones(2)}, path, metadata=metadata)
        assert_same(load(path), {"x": np.ones(2)})


_ODD = [None, True, -1, 1.0, 2**70, "F32", [], [1], [0, 8, 8], [0, -8], [0.0, 8.0], [False, True], ["0", "8"], {}]


@pytest.mark.parametrize("key", ["dtype", "shape", "data_offsets"])
@pytest.mark.parametrize("library_checks", [True, False])
def test_a_safetensors_header_of_an_odd_form_is_refused(key, library_checks, tmp_path, monkeypatch):
    """By the library, and without its help."""
    library = pytest.importorskip("safetensors")
    if not library_checks:
        monkeypatch.setattr(library, "safe_open", lambda path, framework: open(path, "rb"))
    for odd in [*_ODD, None if key == "dtype" else "missing"]:
        header = {"w": entry([2], 0, 8) | {key: odd}}
        if odd == "missing":
            del header["w"][key]
        if header["w"] == entry([2], 0, 8):
            continue
        with pytest.raises(ValueError, match=r"load: .*a\.safetensors: "):
            load(safetensors_file(tmp_path / "a.safetensors", header, bytes(8)))
    for header in ({"w": 1}, {"w": [1, 2, 3]}, {"w": None}, [], 1, "w", None):
        with pytest.raises(ValueError, match=r"load: .*a\.safetensors: "):
            load(safetensors_file(tmp_path / "a.safetensors", header, bytes(8)))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': [1]}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1.0,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': ('1',)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': None}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': 8, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': (), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'shape': (1,)}",
        "[1]",
        "1",
        "",
    ],
)
def test_an_npy_header_of_an_odd_form_is_refused(header, tmp_path):
    text = header.ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(8)
    with pytest.raises(ValueError, match=r"load: .*a\.npz: 'a' is no npy file"):
        load(npz(tmp_path / "a.npz", ("a.npy", data)))


# What is no file


def test_pipes_devices_sockets_and_links_to_them_are_refused_at_once(suffix, tmp_path):
    import socket

    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / f"pipe{suffix}")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / f"socket{suffix}"))

    def late(*_):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    try:
        for name in ("pipe", "device", "link", "socket"):
            path = tmp_path / f"{name}{suffix}"
            signal.alarm(10)
            with pytest.raises(OSError, match="Not a regular file") as caught:
                load(path)
            assert caught.value.filename == str(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        server.close()


# What killed processes leave


_SAVING = """
import os, signal, sys, time
from autodiff.persistence import files
def slow(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    {then}
files.replace_file(sys.argv[1], slow)
"""


def saving(path, then):
    process = subprocess.Popen(
        [sys.executable, "-c", _SAVING.format(then=then), str(path)], cwd=ROOT, stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == b"writing\n"
    return process


def test_what_a_killed_save_left_is_deleted_by_the_next_one_and_nothing_else_is(tmp_path):
    path, neighbour = tmp_path / "a.npz", tmp_path / "b.npz"
    for target in (path, neighbour):
        process = saving(target, "os.kill(os.getpid(), signal.SIGKILL)")
        assert process.wait() == -signal.SIGKILL
    (left,) = [name for name in os.listdir(tmp_path) if name.startswith(".a")]
    others = [".a.npz.tmp", ".a.npz.0123456789ab.tmp", f"x{left}", f"{left}.tmp", ".a.npz.0000000000000000abcd.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / left.replace(".tmp", "").upper()).mkdir()
    before = set(os.listdir(tmp_path))
    save({"x": 1.0}, path)
    assert set(os.listdir(tmp_path)) == before - {left} | {"a.npz"}
    assert all((tmp_path / name).read_bytes() == b"mine" for name in others)


def test_a_save_does_not_disturb_one_that_is_still_running_in_another_process(tmp_path):
    path = tmp_path / "a.npz"
    process = saving(path, "sys.stdin.readline()")
    save({"x": 1.0}, path)
    assert load(path)["x"].item() == 1.0
    assert len(os.listdir(tmp_path)) == 2  # theirs is not taken for an abandoned one
    process.communicate(b"\n")
    assert process.returncode == 0 and path.read_bytes() == b"half" and os.listdir(tmp_path) == ["a.npz"]


def test_many_processes_saving_to_one_file_at_once_all_succeed(tmp_path):
    path = tmp_path / "a.npz"
    code = f"""
import numpy as np
from autodiff.persistence.saving import save
for i in range(150):
    save({{"x": np.full(10, i)}}, {str(path)!r})
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == ["a.npz"] and len(set(load(path)["x"].tolist())) == 1
