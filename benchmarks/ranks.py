"""What averaging over MPI costs: ``mpiexec -n 2 python -m mpi4py -m benchmarks.ranks`` (also with ``-n 1``).

Latency and bandwidth of point-to-point messages and of an all-reduce; a training step of a network with a million
parameters without exchange, with gradients averaged after the backward pass, and while it goes on, in turn; and what
the model of the costs says for more ranks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import optim
from optim.parallel import Averaging

BYTES = [8, 1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22]


def ring(ranks: int, size: float, latency: float, seconds_per_byte: float) -> float:
    """2 (p − 1) messages of size / p, one after another: 2 (p − 1) α + 2 (p − 1) / p · n β."""
    return 2 * (ranks - 1) * (latency + size / ranks * seconds_per_byte)


def tree(ranks: int, size: float, latency: float, seconds_per_byte: float) -> float:
    """Reduced up a binomial tree and sent down again: 2 ⌈log₂ p⌉ (α + n β)."""
    return 2 * math.ceil(math.log2(ranks)) * (latency + size * seconds_per_byte)


def messages(comm: Any, repeats: int = 200) -> tuple[float, float]:
    """Seconds of an empty message and seconds a byte, by a straight line through half of the shortest round trips."""
    found = []
    for size in BYTES:
        buffer, times = np.zeros(size, np.uint8), []
        for _ in range(repeats):
            comm.Barrier()
            start = time.perf_counter()
            if comm.rank == 0:
                comm.Send(buffer, 1)
                comm.Recv(buffer, 1)
            elif comm.rank == 1:
                comm.Recv(buffer, 0)
                comm.Send(buffer, 0)
            times.append(time.perf_counter() - start)
        found.append(min(times) / 2)
    return found[0], (found[-1] - found[0]) / BYTES[-1]


def least(comm: Any, runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The shortest time of each, of the slowest rank, taken in turn."""
    found = dict.fromkeys(runs, math.inf)
    for _ in range(repeats):
        for name, run in runs.items():
            comm.Barrier()
            start = time.perf_counter()
            run()
            found[name] = min(found[name], max(comm.allgather(time.perf_counter() - start)))
    return found


def steps(comm: Any, repeats: int = 30) -> dict[str, float]:
    """Seconds of a step of a network 512-1024-512-10 (1.06 million parameters), 128 samples a rank."""
    rng = np.random.default_rng(comm.rank)
    model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10))
    optim.parallel.broadcast(model, comm)
    optimizer, loss = optim.SGD(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    x, y = rng.normal(size=(128, 512)).astype("float32"), rng.integers(10, size=128)
    averaging = Averaging(list(model.parameters()), comm)
    averaging.weigh(1.0, comm.size)

    def forward() -> Any:
        optimizer.zero_grad()
        return loss(model(x), y)

    def alone() -> None:
        forward().backward(retain_graph=False)
        optimizer.step()

    def after() -> None:
        forward().backward(retain_graph=False)
        averaging()
        optimizer.step()

    def during() -> None:
        value = forward()
        with averaging.overlapped():
            value.backward(retain_graph=False)
        averaging()
        optimizer.step()

    gradients = np.zeros(sum(p.size for p in model.parameters()), np.float32)
    total = np.empty_like(gradients)
    runs = {"no exchange": alone, "averaged after": after, "averaged during": during}
    runs["the all-reduce alone"] = lambda: comm.Allreduce(gradients, total)
    return least(comm, runs, repeats)


def main() -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    line = messages(comm) if comm.size > 1 else (0.0, 0.0)
    found = steps(comm)
    if comm.rank:
        return
    for name, seconds in found.items():
        print(f"{comm.size} rank{'s' * (comm.size > 1)}, {name}: {1e3 * seconds:.2f} ms")
    if comm.size > 1:
        latency, byte = line
        print(f"latency {1e6 * latency:.2f} µs, bandwidth {1e-9 / byte:.2f} GB/s; 4.2 MB of gradients, by the model:")
        for ranks in (2, 8, 32, 128, 1024):
            times = (1e3 * f(ranks, 4.2e6, latency, byte) for f in (ring, tree))
            print(f"{ranks:5} ranks: " + ", ".join(f"{name} {t:.2f} ms" for name, t in zip(("ring", "tree"), times)))


if __name__ == "__main__":
    main()
