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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
class NoisyBatches:
    """The training part in a new order for each epoch, with new noise on the images."""

    data: Digits
    rng: np.random.Generator

    def __len__(self) -> int:
        return -(-len(self.data.x) // BATCH)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = self.rng.permutation(len(self.data.x))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            noise = NOISE * self.rng.standard_normal((len(rows), 64), np.float32)
            yield self.data.x[rows] + noise, self.data.y[rows]


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


def train(
    model: nn.Module, data: Digits, epochs: int, lr: float, rng: np.random.Generator, quiet: bool
) -> optim.History:
    """Minimise the cross-entropy with Adam on shuffled batches, the learning rate falling to 0 along half a cosine, in
    compiled steps.

    Raises:
        Refusal: if the loss is no longer finite.
        KeyboardInterrupt: if it is interrupted.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        raise missing("tqdm") from None
    adam = optim.Adam(model.parameters(), lr=lr)
    with tqdm(total=epochs, desc="training", unit="epoch", disable=quiet) as bar:

        def show(state: Any) -> None:
            history = state.history
            bar.set_postfix(loss=f"{history.train_loss[-1]:.4f}", accuracy=f"{history['val_accuracy'][-1]:.2%}")
            bar.update()

        try:
            history = optim.fit(
                model, nn.CrossEntropyLoss(), NoisyBatches(data, rng), optimizer=adam, epochs=epochs, batch_size=None,
                validation=(data.x_held_out, data.y_held_out), metrics={"accuracy": accuracy}, callbacks=[show],
                scheduler=optim.lr_scheduler.CosineAnnealingLR(adam, epochs), restore_best_weights=False,
                progress=False, compile=True,
            )  # fmt: skip
        except FloatingPointError as error:
            found = str(error).partition(";")[0].removeprefix("fit: ")
            raise Refusal(f"{found}; choose a smaller --lr", status=1) from None
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return history


def accuracy(output: ad.Tensor, target: Any) -> float:
    """The share of digits whose largest output is the right one."""
    return (output.argmax(axis=1) == target).mean().item()


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


def draw_curve(history: optim.History, path: Path) -> None:
    """Losses and held-out accuracy by epoch, as PNG."""
    plt = plotting()
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) == 1 else None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, history.train_loss, marker=marker, color="#0072b2", label="training (noisy images)")
    left.plot(epochs, history.val_loss, marker=marker, color="#d55e00", linestyle="--", label="held out")
    left.set(yscale="log", xlabel="epoch", ylabel="cross-entropy", title="Loss")
    left.legend()
    right.plot(epochs, history["val_accuracy"], marker=marker, color="#d55e00", linestyle="--")
    right.set(xlabel="epoch", ylabel="accuracy", title=f"Held-out accuracy (last: {history['val_accuracy'][-1]:.2%})")
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
        history = train(model, data, chosen.epochs, chosen.lr, rng, chosen.quiet)
    error = hvp_error(model, data.x[:200], data.y[:200], rng)
    written = [folder / "graph.svg", folder / "learning_curve.png"]
    try:
        draw_graph(model, data, written[0])
        draw_curve(history, written[1])
    except OSError as failure:
        raise Refusal(f"cannot write to --out {folder}: {failure.strerror or failure}") from None
    except RuntimeError as failure:  # no layout program, or it failed
        raise Refusal(str(failure), status=1) from None
    right, step = history["val_accuracy"][-1], statistics.median(history.seconds) / -(-len(data.y) // BATCH)
    print(f"accuracy {right:.2%} of {len(data.y_held_out)} held-out digits after {chosen.epochs} epochs")
    print(
        f"time per step {step * 1e6:.0f} µs (median of {len(history)} epochs, batch {BATCH}, with data and measuring)"
    )
    print(f"compiled {'; '.join(line for line in history.compiled.splitlines() if not line.startswith(' '))}")
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
