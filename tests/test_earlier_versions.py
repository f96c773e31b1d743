"""Files that version 0.1.0 wrote, before its modules moved into folders, still load: nothing a user saved is lost."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
import nn
import optim

EARLIER = Path(__file__).parent / "data" / "earlier"
EXPECTED = np.load(EARLIER / "expected.npz")


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_tensors(suffix: str) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    found = ad.load(EARLIER / f"tensors.{suffix}")
    assert set(found) == {"w", "n", "b", "x"}
    for name, tensor in found.items():
        assert tensor.dtype == EXPECTED[name].dtype
        np.testing.assert_array_equal(tensor.data, EXPECTED[name])


def test_a_training_goes_on_to_the_numbers_it_had_then(tmp_path: Path) -> None:
    """The first three epochs are in the checkpoint; the version that wrote it went on to six with these losses."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(EARLIER / "checkpoint", folder)
    X, y = EXPECTED["X"], EXPECTED["y"]
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    adam = optim.Adam(model.parameters(), lr=0.01)
    history = optim.fit(
        model, nn.CrossEntropyLoss(), (X, y), optimizer=adam, epochs=6, batch_size=4, validation=(X[:4], y[:4]),
        scheduler=optim.lr_scheduler.StepLR(adam, 2), checkpoint=folder, resume=True, rng=np.random.default_rng(1),
    )  # fmt: skip
    np.testing.assert_allclose(history.train_loss, EXPECTED["train_loss"], rtol=1e-6)  # float32, another BLAS perhaps
    # The bias before the batch norm has a gradient of rounding alone, by which Adam moves it; evaluation sees that.
    np.testing.assert_allclose(history.val_loss, EXPECTED["val_loss"], rtol=1e-3)
    assert sorted(p.name for p in folder.iterdir())[0] == "checkpoint.json"


def test_pickles_make_the_round_trip_within_a_version() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.MLP([8, 4, 2]), nn.LSTM(2, 3))
    adam = optim.Adam(model.parameters())
    loss = nn.functional.mse_loss(model[:3](np.ones((2, 1, 4, 4), np.float32)), np.zeros((2, 2), np.float32))
    loss.backward()
    adam.step()
    others = (nn.CrossEntropyLoss(), optim.lr_scheduler.StepLR(adam, 3), optim.EarlyStopping(3))
    copied, optimizer, *rest = pickle.loads(pickle.dumps((model, adam, *others)))
    assert [type(x) for x in rest] == [type(x) for x in others]
    for (name, p), q in zip(model.state_dict().items(), copied.state_dict().values()):
        np.testing.assert_array_equal(p.data, q.data, err_msg=name)
    assert optimizer.state_dict()["param_groups"] == adam.state_dict()["param_groups"]
    assert {id(p) for p in copied.parameters()} == {id(p) for p in optimizer.param_groups[0]["params"]}
