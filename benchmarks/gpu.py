"""A GPU's arrays: ``python -m benchmarks.gpu`` checks every operation on CuPy's arrays against NumPy's, trains the
digits and times networks and a Hessian-vector product beside PyTorch on the same GPU, in less than eight minutes.

``--stand-in`` runs the same on small sizes without a GPU, on arrays that do what CuPy's do: a trial of this script.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import autodiff as ad
import nn
import optim
from autodiff.device_arrays import DeviceArray
from autodiff.primitive import REGISTRY
from autodiff.tensor import plain
from autodiff.transforms.forward import Unsupported

TARGET = 1.5
"""The most that the network of the largest batch may take, in PyTorch's time."""


class Place:
    """Where arrays are put, what waits until all is computed, and what PyTorch calls it."""

    def __init__(self, stand_in: bool) -> None:
        self.stand_in = stand_in
        if stand_in:
            from tests.stand_in import Device

            self.there: ad.Tensor = ad.Tensor(Device(np.zeros(0, np.float32)))
            self.torch, self.wait = "cpu", lambda: None
        else:
            self.there = ad.zeros(0, np.float32).to("cuda")
            import cupy

            self.torch, self.wait = "cuda", cupy.cuda.Device().synchronize

    def array(self, a: Any) -> Any:
        return np.asarray(a, like=plain(self.there))

    def tensor(self, a: Any) -> ad.Tensor:
        return ad.Tensor(self.array(a))


def sweep(place: Place) -> dict[str, Any]:
    """Values, gradients, and second and forward derivatives of every operation on its samples, against NumPy's."""
    from tests.autodiff.test_foreign_arrays import results

    wrong = {}
    for name in sorted(set(REGISTRY) - {"transfer"}):
        try:
            with np.errstate(all="ignore"):
                for sample in REGISTRY[name].samples(np.random.default_rng(zlib.crc32(name.encode()))):
                    try:
                        expected = results(REGISTRY[name], sample, np.array)
                    except Unsupported:
                        continue
                    found = results(REGISTRY[name], sample, place.array)
                    for key, value in expected.items():
                        if value is not None:
                            a, b = DeviceArray.get(plain(found[key])), plain(value)
                            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8, err_msg=f"{sample.params} {key}")
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return {"operations": len(REGISTRY) - 1, "wrong": wrong}


def digits(place: Place) -> float:
    """The share of the test images that a small network has right."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X, order = (X / 16).astype(np.float32), np.random.default_rng(0).permutation(len(X))
    train, test = order[:1400], order[1400:]
    nn.manual_seed(0)
    model = nn.MLP([64, 64, 10])
    model.to(place.there)
    optim.fit(
        model, nn.CrossEntropyLoss(), (X[train], y[train]), optimizer=optim.Adam(model.parameters(), lr=0.01),
        epochs=2 if place.stand_in else 20, batch_size=64, rng=0, progress=False,
    )  # fmt: skip
    with ad.no_grad():
        found = model(place.tensor(X[test])).cpu().numpy().argmax(axis=1)
    return float((found == y[test]).mean())


def mlp(width: int) -> Callable[[Any], Any]:
    def model(layers: Any) -> Any:
        hidden = [f(width, width) if f is layers.Linear else f() for f in [layers.Linear, layers.ReLU] * 3]
        return layers.Sequential(*hidden, layers.Linear(width, width))

    return model


def lenet(layers: Any) -> Any:
    return layers.Sequential(
        layers.Conv2d(1, 6, 5, padding=2), layers.ReLU(), layers.MaxPool2d(2), layers.Conv2d(6, 16, 5), layers.ReLU(),
        layers.MaxPool2d(2), layers.Flatten(), layers.Linear(400, 120), layers.ReLU(), layers.Linear(120, 84),
        layers.ReLU(), layers.Linear(84, 10),
    )  # fmt: skip


def vit_block(width: int) -> Callable[[Any], Any]:
    return lambda layers: layers.TransformerEncoderLayer(width, 4, 4 * width, 0.0, activation="gelu", norm_first=True)


def workloads(small: bool) -> list[tuple[str, Callable[[Any], Any], tuple[int, ...], bool]]:
    """Names, networks, shapes of their inputs, and whether a Hessian-vector product is taken, else a gradient."""
    width, batches = (16, (4, 8)) if small else (1024, (256, 4096))
    images, tokens = ((2, 1, 28, 28), (5, 2, 16)) if small else ((256, 1, 28, 28), (197, 32, 384))
    return [
        *((f"MLP {width}×4, batch {n}", mlp(width), (n, width), False) for n in batches),
        ("LeNet", lenet, images, False), ("ViT block", vit_block(tokens[-1]), tokens, False),
        (f"HVP, MLP {width}×4, batch {batches[0]}", mlp(width), (batches[0], width), True),
    ]  # fmt: skip


def of_ours(place: Place, model: Any, x: np.ndarray[Any, Any], product: bool) -> Callable[[], list[Any]]:
    network = model(nn)
    network.to(place.there)
    given, params = place.tensor(x), list(network.parameters())

    def run() -> list[Any]:
        loss = (network(given) ** 2).mean()
        gradients = ad.gradients(loss, params, create_graph=product)
        if product:
            gradients = ad.gradients(sum((g * p.detach()).sum() for g, p in zip(gradients, params)), params)
        place.wait()
        return list(gradients)

    run.network = network  # type: ignore[attr-defined]
    return run


def of_torch(place: Place, model: Any, x: np.ndarray[Any, Any], product: bool, ours: Any) -> Callable[[], list[Any]]:
    import torch

    network = model(torch.nn)
    state = {name: torch.tensor(value.cpu().numpy()) for name, value in ours.state_dict().items()}
    network.load_state_dict(state)
    network, given = network.to(place.torch), torch.tensor(x).to(place.torch)
    params = list(network.parameters())

    def run() -> list[Any]:
        loss = (network(given) ** 2).mean()
        gradients = torch.autograd.grad(loss, params, create_graph=product)
        if product:
            gradients = torch.autograd.grad(sum((g * p.detach()).sum() for g, p in zip(gradients, params)), params)
        if place.torch == "cuda":
            torch.cuda.synchronize()
        return list(gradients)

    return run


def timed(run: Callable[[], Any], seconds: float) -> float:
    """The median time of a call, after three that compile and warm up."""
    for _ in range(3):
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def measured(place: Place, seconds: float) -> dict[str, dict[str, Any]]:
    """Times in milliseconds, PyTorch's where it is installed, and how far the two results are from each other."""
    rows: dict[str, dict[str, Any]] = {}
    for name, model, shape, product in workloads(place.stand_in):
        nn.manual_seed(0)
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        ours = of_ours(place, model, x, product)
        row: dict[str, Any] = {"ours": 1e3 * timed(ours, seconds)}
        try:
            theirs = of_torch(place, model, x, product, ours.network)  # type: ignore[attr-defined]
        except ImportError:
            rows[name] = row
            continue
        off = [
            np.linalg.norm(a.cpu().numpy() - (t := b.cpu().numpy())) / (np.linalg.norm(t) or 1.0)
            for a, b in zip(ours(), theirs())
        ]
        row |= {"torch": 1e3 * timed(theirs, seconds), "off": float(max(off))}
        row["ratio"] = row["ours"] / row["torch"]
        rows[name] = row
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run all, print it, and say by the exit status whether all is right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--stand-in", action="store_true", help="small sizes without a GPU, a trial of this script")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each side of a line is timed")
    parser.add_argument("--no-sweep", action="store_true", help="leave the operations out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(arguments)
    place = Place(options.stand_in)
    report: dict[str, Any] = {"device": str(plain(place.there).device)}
    if not options.no_sweep:
        report["sweep"] = found = sweep(place)
        print(
            f"{found['operations'] - len(found['wrong'])} of {found['operations']} operations are as on NumPy's arrays"
        )
        for name, error in found["wrong"].items():
            print(f"  {name}: {error}")
    try:
        report["digits"] = digits(place)
        print(f"digits: {report['digits']:.1%} of the test images right")
    except ImportError:
        print("digits: scikit-learn is not installed")
    report["times"] = rows = measured(place, 0.05 if options.stand_in else options.seconds)
    print(f"{'':32}{'ours, ms':>10}{'torch, ms':>11}{'ratio':>7}{'off':>10}")
    for name, row in rows.items():
        theirs = f"{row['torch']:11.2f}{row['ratio']:7.2f}{row['off']:10.1e}" if "torch" in row else ""
        print(f"{name:32}{row['ours']:10.2f}{theirs}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    slow = [row["ratio"] for name, row in rows.items() if "batch 4096" in name and row.get("ratio", 0) > TARGET]
    return int(bool(slow or report.get("sweep", {}).get("wrong") or any(r.get("off", 0) > 1e-3 for r in rows.values())))


if __name__ == "__main__":
    sys.exit(main())
