"""Checkpoints in one file: nested dicts of states, which come back as they were, or not at all."""

import json
import os

import numpy as np
import pytest

import autodiff as ad
import nn
import optim

library = pytest.importorskip("safetensors.numpy")


class Training:
    """A model with dropout and batch norm, Adam, a schedule and a generator."""

    def __init__(self):
        nn.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.1, amsgrad=True)
        self.schedule = optim.lr_scheduler.OneCycleLR(self.optimizer, 0.2, 20)
        self.losses, self.best = [], float("inf")

    def run(self, steps):
        x = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2)
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = ((self.model(x) - x[:, :1]) ** 2).mean()
            loss.backward()
            self.optimizer.step(), self.schedule.step()
            self.losses.append(loss.item())
        self.best = min(self.best, *self.losses)

    def save(self, path):
        nn.save(
            {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best,
             "schedule": self.schedule.state_dict(), "generator": nn.get_rng_state(), "losses": self.losses,
             "epoch": len(self.losses), "note": None}, path,
        )  # fmt: skip

    def load(self, path):
        saved = nn.load(path)
        self.model.load_state_dict(saved["model"]), self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"]), nn.set_rng_state(saved["generator"])
        self.losses, self.best = saved["losses"], saved["best"]
        assert saved["epoch"] == len(self.losses) and saved["note"] is None


def test_a_training_goes_on_from_its_checkpoint_to_the_bit(tmp_path):
    path, whole = tmp_path / "checkpoint.safetensors", Training()
    whole.run(12)
    first = Training()
    first.run(5), first.save(path)
    second = Training()
    second.run(3)  # something else meanwhile, which moves the generator too
    second.load(path)
    second.run(7)
    assert second.losses == whole.losses and second.best == whole.best
    for name, tensor in whole.model.state_dict().items():
        np.testing.assert_array_equal(second.model.state_dict()[name].data, tensor.data)
    assert sorted(library.load_file(path))[:2] == ["model.0.bias", "model.0.weight"]  # others read the arrays by path


def test_values_come_back_as_what_they_were(tmp_path):
    values = {
        "tensor": ad.Tensor([1.0, 2.0], requires_grad=True), "array": np.arange(3, dtype=np.uint8), "empty": {},
        "scalar": np.float16(0.1), "mask": np.array([True, False]), "tuple": (1, [2.5, None], "ü"), "nan": float("-inf"),
        "big": 2**127, 3: {"inner": ad.Tensor(np.int32(4))}, "$odd": True,
        "complex": complex(float("inf"), -0.5), "waves": np.array([1 + 2j]), 1j: "key",
    }  # fmt: skip
    nn.save({"state": values, "epoch": 3}, tmp_path / "a.safetensors")
    back = nn.load(tmp_path / "a.safetensors")
    assert list(back) == ["state", "epoch"] and back["epoch"] == 3
    found = back["state"]
    assert list(found) == list(values)
    assert (
        type(found["tensor"]) is ad.Tensor and not found["tensor"].requires_grad and found["tensor"].tolist() == [1, 2]
    )
    assert found["array"].dtype == np.uint8 and found["array"].tolist() == [0, 1, 2] and found["mask"].dtype == bool
    assert found[3]["inner"].dtype == np.int32 and found["scalar"] == float(np.float16(0.1)) and found["empty"] == {}
    assert found["waves"].dtype == np.complex128 and found["waves"].tolist() == [1 + 2j]
    for name in ("tuple", "nan", "big", "$odd", "complex", 1j):
        assert found[name] == values[name] and type(found[name]) is type(values[name])


class Held(dict):
    """A dict that holds itself."""

    def __init__(self):
        super().__init__(me=self)


@pytest.mark.parametrize("value, error, words", [
    (nn.Linear(1, 1), TypeError, r"checkpoint: model.a is a Linear.*; save its state_dict\(\)"),
    (np.random.default_rng(0), TypeError, r"model.a is a Generator.*; save its bit_generator.state$"),
    (lambda: 0, TypeError, "checkpoint: model.a is a function, which cannot be saved"),
    ({1, 2}, TypeError, "checkpoint: model.a is a set"),
    (np.ones(2, np.longdouble), TypeError, "'model.a' has dtype "),
    (Held(), ValueError, "the dicts contain themselves"),
])  # fmt: skip
def test_what_cannot_be_saved_is_named_and_the_file_before_stays(value, error, words, tmp_path):
    path = tmp_path / "a.safetensors"
    nn.save({"model": {"a": np.ones(2)}}, path)
    before = path.read_bytes()
    with pytest.raises(error, match=words):
        nn.save({"model": {"a": value}}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]


def test_dicts_in_dicts_need_safetensors_and_plain_ones_do_not(tmp_path):
    with pytest.raises(ValueError, match=r"npz file holds arrays by name; dicts inside a dict need name.safetensors"):
        nn.save({"model": {"a": np.ones(2)}}, tmp_path / "a.npz")
    assert os.listdir(tmp_path) == []
    nn.save({"model": np.ones(2), "epoch": 3}, tmp_path / "a.npz")
    assert nn.load(tmp_path / "a.npz")["epoch"].item() == 3


def header_of(content):
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def test_damage_anywhere_in_a_checkpoint_is_found(tmp_path):
    path, damaged = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    nn.save({"model": {"w": np.arange(4.0)}, "rate": 0.125, "names": ["one", "two"]}, path)
    content = path.read_bytes()
    for i in range(len(content)):
        damaged.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(ValueError, match=r"b.safetensors"):
            nn.load(damaged)
    for end in (0, 7, 100, len(content) - 1):
        damaged.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"b.safetensors"):
            nn.load(damaged)


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": {"$array": "b"}}', '{"a": {"$tuple": 1}}', "{", "[" * 100000, "NaN"]
)
def test_a_header_that_stands_for_no_checkpoint_is_refused(text, tmp_path):
    from autodiff.persistence import safetensors

    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        safetensors.write(file, {"w": np.ones(2)}, text)
    with pytest.raises(ValueError, match=r"a.safetensors: what stands in its header is no checkpoint"):
        nn.load(path)
