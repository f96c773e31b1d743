"""The main job, ``python -m autodiff``: train a small network on handwritten digits, check a Hessian-vector product of
its loss, and draw the loss's graph and the learning curve. It stands on the roof: it uses all three packages.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import autodiff as ad
import nn
import optim

Array = np.ndarray[Any, Any]

BATCH = 32
NOISE = 0.2
"""Standard deviation of the noise on training images, a regulariser (Bishop, "Training with noise is equivalent to
Tikhonov regularization", 1995); like the schedule, chosen by cross-validation on the training part."""


class Refusal(Exception):
    """What the user is told in one line, with the exit status."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Digits:
    """The UCI handwritten digits, 8 × 8 grey values scaled to [0, 1]; a fixed, stratified fifth is held out."""

    x: Array
    y: Array
    x_held_out: Array
    y_held_out: Array


@dataclass
class Curve:
    """What training left behind, by epoch."""

    loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)


def digits() -> Digits:
    """Load the data that scikit-learn carries."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise missing("scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    x, x_held_out, y, y_held_out = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    return Digits(x, y, x_held_out, y_held_out)


def network() -> nn.Sequential:
    """The network 64-64-32-10."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def train(model: nn.Module, data: Digits, epochs: int, lr: float, rng: np.random.Generator, quiet: bool) -> Curve:
    """Minimise the cross-entropy with Adam on shuffled batches, the learning rate falling to 0 along half a cosine.

    Raises:
        Refusal: if the loss is no longer finite.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        raise missing("tqdm") from None
    optimizer = optim.Adam(model.parameters(), lr=lr)
    loss_of = nn.CrossEntropyLoss()
    curve = Curve()
    with tqdm(range(1, epochs + 1), desc="training", unit="epoch", disable=quiet) as bar:
        for epoch in bar:
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
            order, losses = rng.permutation(len(data.x)), []
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                images = data.x[rows] + NOISE * rng.standard_normal((len(rows), 64), np.float32)
                began = time.perf_counter()
                optimizer.zero_grad()
                loss = loss_of(model(images), data.y[rows])
                loss.backward()
                optimizer.step()
                curve.step_seconds.append(time.perf_counter() - began)
                losses.append(loss.item())
            with ad.no_grad():
                logits = model(data.x_held_out)
                curve.held_out_loss.append(loss_of(logits, data.y_held_out).item())
            curve.loss.append(statistics.fmean(losses))
            curve.accuracy.append(float(np.mean(logits.numpy().argmax(axis=1) == data.y_held_out)))
            if not math.isfinite(curve.loss[-1]):
                raise Refusal(f"the loss became {curve.loss[-1]} in epoch {epoch}; choose a smaller --lr", status=1)
            bar.set_postfix(loss=f"{curve.loss[-1]:.4f}", accuracy=f"{curve.accuracy[-1]:.2%}")
    return curve


def hvp_error(model: nn.Sequential, x: Array, y: Array, rng: np.random.Generator) -> float:
    """Relative error of H·v, taken by a second backward pass through ∇L·v, against a central difference of gradients,
    in float64 and for a random direction v of length 1.

    ReLU has no second derivative at its kink: the step is made small enough that no unit switches between the two
    points of the difference, and Richardson's extrapolation then removes the difference's own error of order step².
    """
    model = copy.deepcopy(model).astype(np.float64)
    params = list(model.parameters())
    start = [p.data.copy() for p in params]
    x = x.astype(np.float64)
    direction = [rng.normal(size=p.shape) for p in params]
    length = math.sqrt(sum(float((v * v).sum()) for v in direction))
    direction = [v / length for v in direction]

    gradient = ad.gradients(nn.functional.cross_entropy(model(x), y), params, create_graph=True)
    slope = sum(((g * v).sum() for g, v in zip(gradient, direction)), ad.Tensor(0.0))
    exact = np.concatenate([h.numpy().ravel() for h in ad.gradients(slope, params)])

    def move(step: float) -> None:
        for p, w, v in zip(params, start, direction):
            p.data = w + step * v

    def gradient_at(step: float) -> Array:
        move(step)
        found = ad.gradients(nn.functional.cross_entropy(model(x), y), params)
        return np.concatenate([g.numpy().ravel() for g in found])

    def switches_at(step: float) -> Array:
        move(step)
        active, h = [], ad.Tensor(x)
        with ad.no_grad():
            for layer in model:
                h = layer(h)
                if isinstance(layer, nn.ReLU):
                    active.append(h.numpy() > 0)
        return np.concatenate(active, axis=1)

    def difference(step: float) -> Array:
        return (gradient_at(step) - gradient_at(-step)) / (2 * step)

    step, here = 1e-2, switches_at(0.0)
    while step > 1e-6 and not all((switches_at(s) == here).all() for s in (step, -step)):
        step /= 2
    numeric = (4 * difference(step / 2) - difference(step)) / 3
    scale = float(np.linalg.norm(numeric)) or 1.0  # a network that died has no curvature
    return float(np.linalg.norm(exact - numeric)) / scale


def draw_graph(model: nn.Module, data: Digits, path: Path) -> None:
    """The graph of the loss of eight digits, with gradients, as SVG."""
    images = ad.Tensor(data.x_held_out[:8], name="images")
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(images), data.y_held_out[:8])
    loss.name = "loss"
    loss.backward()
    picture = ad.graph(loss, names={"model": model, "images": images}, direction="TB")
    path.write_bytes(picture.pipe("svg"))


def plotting() -> Any:
    """matplotlib's pyplot, drawing to files."""
    try:
        import matplotlib
    except ImportError:
        raise missing("matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw_curve(curve: Curve, path: Path) -> None:
    """Losses and held-out accuracy by epoch, as PNG."""
    plt = plotting()
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = range(1, len(curve.loss) + 1)
    marker = "o" if len(curve.loss) == 1 else None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, curve.loss, marker=marker, color="#0072b2", label="training (noisy images)")
    left.plot(epochs, curve.held_out_loss, marker=marker, color="#d55e00", linestyle="--", label="held out")
    left.set(yscale="log", xlabel="epoch", ylabel="cross-entropy", title="Loss")
    left.legend()
    right.plot(epochs, curve.accuracy, marker=marker, color="#d55e00", linestyle="--")
    right.set(xlabel="epoch", ylabel="accuracy", title=f"Held-out accuracy (last: {curve.accuracy[-1]:.2%})")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def missing(package: str) -> Refusal:
    """What to say where an optional package is not installed."""
    return Refusal(f"this needs {package}, which is not installed: pip install 'autodiff[demo]' (or {package})")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(message)


def _whole(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return value

    return parse


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a finite number greater than 0, not {text!r}")
    return value


def options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = _Parser(prog="python -m autodiff", description=(
        "Train a 64-64-32-10 network on the UCI handwritten digits with this engine, check a Hessian-vector product by "
        "double backward, and write the graph of the loss (SVG) and the learning curve (PNG)."
    ))  # fmt: skip
    parser.add_argument("--epochs", type=_whole(1), default=40, help="passes over the training part (default 40)")
    parser.add_argument("--lr", type=_rate, default=1e-2, help="first learning rate of Adam (default 0.01)")
    parser.add_argument("--seed", type=_whole(0), default=0, help="of initial weights and batches (default 0)")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR",
                        help="folder for the pictures, made if needed (default ./results)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(arguments)


def prepared(folder: Path) -> Path:
    """The output folder, made and found writable before time is spent on what goes there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refusal(f"cannot write to --out {folder}: {error.strerror or error}") from None
    return folder


def run(arguments: list[str] | None) -> None:
    """The whole job; the report goes to standard output."""
    chosen = options(arguments)
    ad.keep_memory()  # this process is ours
    folder = prepared(chosen.out)
    data = digits()
    plotting()  # what is missing is said now, not after the training
    nn.manual_seed(chosen.seed)
    rng = np.random.default_rng(chosen.seed)
    model = network()
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is reported in words
        curve = train(model, data, chosen.epochs, chosen.lr, rng, chosen.quiet)
    error = hvp_error(model, data.x[:200], data.y[:200], rng)
    written = [folder / "graph.svg", folder / "learning_curve.png"]
    try:
        draw_graph(model, data, written[0])
        draw_curve(curve, written[1])
    except OSError as failure:
        raise Refusal(f"cannot write to --out {folder}: {failure.strerror or failure}") from None
    except RuntimeError as failure:  # no layout program, or it failed
        raise Refusal(str(failure), status=1) from None
    steps = len(curve.step_seconds)
    print(f"accuracy {curve.accuracy[-1]:.2%} of {len(data.y_held_out)} held-out digits after {chosen.epochs} epochs")
    print(f"time per step {statistics.median(curve.step_seconds) * 1e6:.0f} µs (median of {steps}, batch {BATCH})")
    print(f"HVP relative error {error:.1e} against a central difference of gradients (float64)")
    for path in written:
        print(f"wrote {path}")


def main(arguments: list[str] | None = None) -> int:
    """Run the job; the exit status: 0, 1 if it failed, 2 for bad options or a missing package, 130 if interrupted."""
    try:
        run(arguments)
    except Refusal as refusal:
        print(f"python -m autodiff: {refusal}", file=sys.stderr)
        return refusal.status
    except KeyboardInterrupt:
        print("\npython -m autodiff: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
