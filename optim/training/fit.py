"""`fit`: train a model, with everything that a training loop needs.

`fit` checks what it is given; `_Run` is the loop: epochs, batches, evaluation, checkpoints.
"""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, enable_grad, no_grad
from autodiff.averaging import count_of, counted
from autodiff.flags import flagged
from autodiff.leaving import user_level
from autodiff.mode import mode
from autodiff.persistence.files import FilePath
from autodiff.tensor import plain

from ..data import as_batches, dtype_of, length, not_finite, pair
from ..lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from ..optimizer import Optimizer
from ..second_order.lbfgs import LBFGS
from .checkpointing import Checkpoints
from .early_stopping import EarlyStopping
from .generators import generators
from .history import History
from .parts import Parts
from .step import NotFinite, Step, backend_of, require_one_number


@dataclass
class TrainingState:
    """What callbacks see; they may change the model, the optimiser and its ``param_groups``.

    Attributes:
        model, optimizer, scheduler: as given to `fit`.
        epochs: how many there will be at most.
        history: with all epochs that are complete.
        epoch: the present one, the first one being 1.
        batch: how many batches of it are done.
        loss: of the batch done last.
        output: of the model for it.
    """

    model: Any
    optimizer: Optimizer
    scheduler: LRScheduler | None
    epochs: int
    history: History
    epoch: int = 0
    batch: int = 0
    loss: float = math.nan
    output: Any = None

    def __repr__(self) -> str:
        return f"TrainingState(epoch {self.epoch} of {self.epochs}, batch {self.batch}, loss {self.loss:.6g})"


@flagged
def fit(
    model: Any,
    loss: Callable[[Any, Any], Tensor],
    data: Any,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = 32,
    validation: Any = None,
    metrics: Any = None,
    scheduler: LRScheduler | None = None,
    clip_norm: float | None = None,
    patience: float | EarlyStopping | None = None,
    restore_best_weights: bool = True,
    callbacks: Iterable[Any] = (),
    checkpoint: FilePath | None = None,
    resume: bool = False,
    rng: np.random.Generator | None = None,
    progress: bool | None = None,
    compile: Any = False,
) -> History:
    """Train a model.

    Each epoch goes through the data once: for each batch, the model in training mode gives an output, the loss is taken
    and differentiated, the gradients are clipped, the optimiser makes a step. Then the model, in evaluation mode and
    without recording, is measured on the validation data. `fit` leaves it in evaluation mode.

    Args:
        model: a module (`parameters`, `state_dict`, `load_state_dict`, `train` and `eval`), called with a batch of X;
            if X is a tuple, with its items.
        loss: called with the model's output and a batch of y; returns one number, a Tensor (a mean over the batch).
        data: (X, y), a tuple of arrays of N samples, or of tuples of them, cut into batches in a new order in each
            epoch; floating-point arrays are cast to the dtype of the model's parameters. Or batches (x, y): a list, or
            anything else that can be iterated over again and again, such as `batches` returns.
        optimizer: of the model's parameters.
        epochs: at most so many.
        batch_size: samples in a batch of (X, y); None for all.
        validation: data like `data`; its order is kept.
        metrics: functions of an output and a batch of y that return a number, in a dict by name, or a list of them.
            They are averaged over batches, each weighted by its number of samples; the losses too, or where the loss
            says what its mean divides by (``loss.count(y)``: targets not ignored, class weights), by that; a batch of
            which it counts nothing is passed over.
        scheduler: of this optimiser; `OneCycleLR` and `CyclicLR` (also inside others) make a step after each batch, all
            others after each epoch; `ReduceLROnPlateau` takes the validation loss, else the training loss.
        clip_norm: largest norm of all gradients together.
        patience: stop when the validation loss (without validation, the training loss) has not improved for so many
            epochs, or when an `EarlyStopping` says so.
        restore_best_weights: with `validation` or `patience`, end with the weights of the epoch whose loss was lowest
            (after Ctrl-C too).
        callbacks: functions called with a `TrainingState` after each epoch, or objects with ``on_epoch_end(state)`` or
            ``on_batch_end(state)`` or both; returning True stops the training. What their ``state_dict()`` returns, if
            they have one, is in the checkpoint.
        checkpoint: a folder into which the whole state of the training is written at the start and after each epoch,
            and which belongs to this training while it goes on; a checkpoint of another training that is there is
            kept, in a folder ``earlier-1`` inside, unless
        resume: continue from it (if it is there) as if training had never stopped, to the last bit: with the same
            arguments and freshly made objects. An epoch that was interrupted starts again. Random generators are
            continued where they are found: `rng`, NumPy's and Python's global ones, the default one of nn, and those
            that are attributes of the model's modules, the loss, the data or a callback.
        rng: generator for the order of the samples; a fresh one by default.
        progress: show a progress bar (tqdm) on stderr; by default if that is a terminal.
        compile: True to run the steps and the validation as programs (`autodiff.compile`), in machine code where
            llvmlite is installed; "numpy" or "native" for one of its back ends. The numbers are the same to rounding,
            which over many steps grows, in float32 into digits that are seen. Each shape of batch is traced and
            compiled first, for which on small data sets the first epochs pay. What no program can repeat runs as it is,
            after a warning that says why; ``history.compiled`` says what was compiled. The model and the loss are
            called with traced arrays at the first batch of each shape alone, so that what they print or append appears
            then.

    Returns:
        The history: "train_loss", "val_loss", "train_" and "val_" and the name for each metric, and "lr", the learning
        rate at the start of the epoch. The training loss is the mean of the batches' losses as they went by. Ctrl-C
        ends the training early, and the history of complete epochs is returned.

    Raises:
        FloatingPointError: if a loss, a gradient or a parameter becomes NaN or infinite, naming epoch and batch, and
            the row of the batch if that is where it comes from. Of a
            loss or a gradient, the weights are those before its step; a checkpoint always holds finite ones.
        RuntimeError: if another training that is still going on writes into the folder `checkpoint`.
        ValueError: if its files are damaged or missing, or of a training with other parts; nothing is changed then.
        TypeError, ValueError: for data that are empty, of different lengths, sparse or no numbers, for NaN or infinity
            in arrays of all samples, and for arguments out of range.
        Whatever the model and the loss raise (labels of a wrong kind, say).

    >>> import numpy as np, nn, optim
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array([0, 1, 1, 0])
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(2, 8, rng=rng), nn.Tanh(), nn.Linear(8, 2, rng=rng))
    >>> adam = optim.Adam(model.parameters(), lr=0.1)
    >>> history = fit(model, nn.CrossEntropyLoss(), (X, y), optimizer=adam, epochs=50, rng=rng)
    >>> model(X.astype("float32")).argmax(axis=1)
    Tensor([0, 1, 1, 0])
    >>> history.train_loss[-1] < 0.05
    True
    """
    check_parts(model, loss, optimizer, "fit")
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 1:
        raise ValueError(f"fit: epochs must be an integer of at least 1, not {epochs!r}")
    if scheduler is not None and getattr(scheduler, "optimizer", None) is not optimizer:
        raise ValueError(f"fit: scheduler= takes a schedule of the same optimiser, not {scheduler!r}")
    numeric = isinstance(clip_norm, (int, float, np.number)) and not isinstance(clip_norm, bool)
    if clip_norm is not None and not (numeric and 0 < clip_norm < math.inf):
        raise ValueError(f"fit: clip_norm must be a positive number, not {clip_norm!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"fit: rng= takes a numpy.random.Generator such as np.random.default_rng(0), not {rng!r}")
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(f"fit: checkpoint= takes the path of a folder, not {checkpoint!r}")
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the folder to continue from")
    rng = np.random.default_rng() if rng is None else rng
    stopping = patience
    if not isinstance(stopping, EarlyStopping):
        stopping = EarlyStopping(math.inf if stopping is None else stopping, restore_best=restore_best_weights)
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks= takes a list of functions or objects, not {callbacks!r}")
    callbacks, dtype = list(callbacks), dtype_of(model)
    run = _Run(
        model=model,
        loss=loss,
        train=as_batches(data, batch_size, rng, dtype, "fit: data"),
        validation=None if validation is None else as_batches(validation, batch_size, None, dtype, "fit: validation"),
        metrics=_named(metrics),
        clip_norm=clip_norm,
        stopping=stopping,
        monitored=validation is not None or patience is not None,
        restores=bool(restore_best_weights) and stopping.restore_best,
        callbacks=callbacks,
        generators=lambda: generators(
            rng=rng, model=model, loss=loss, data=data, validation=validation, callbacks=callbacks
        ),
        checkpoints=None if checkpoint is None else Checkpoints(checkpoint),
        state=TrainingState(model, optimizer, scheduler, int(epochs), History()),
        backend=backend_of(compile),
    )
    if run.checkpoints is None:
        stopping.reset()
        return run(progress)
    with run.checkpoints.alone():
        if not (resume and run.load(run.checkpoints)):
            stopping.reset()
            run.checkpoints.keep()
            run.save(best=False)
        return run(progress)


# What is checked


def check_parts(model: Any, loss: Any, optimizer: Any, where: str) -> None:
    """Raise unless these can be trained together; `where` begins the messages."""
    missing = [
        name for name in ("parameters", "state_dict", "load_state_dict", "train", "eval") if not hasattr(model, name)
    ]
    if missing or isinstance(model, type) or not callable(model):
        raise TypeError(
            f"{where}: the model must be a module, not {model!r}" + f" (no {', '.join(missing)})" * bool(missing)
        )
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(
            f"{where}: loss takes a function of output and target, such as nn.CrossEntropyLoss(), not {loss!r}"
        )
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{where}: optimizer= takes an optimiser, such as optim.Adam(model.parameters()), not {optimizer!r}"
        )
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(f"{where}: the optimiser has none of the model's parameters; was it made for another model?")


def one_number(value: Any, where: str) -> float:
    """What a loss returned, as a number."""
    require_one_number(value, where)
    return float(value.item())


def _named(metrics: Any) -> dict[str, Callable[[Any, Any], Any]]:
    if metrics is None:
        return {}
    if callable(metrics):
        metrics = [metrics]
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"fit: metrics= takes a dict of functions or a list of them, not {metrics!r}")
    if not isinstance(metrics, Mapping):
        listed = list(metrics)
        metrics = {getattr(f, "__name__", type(f).__name__): f for f in listed}
        if len(metrics) < len(listed):
            raise ValueError(f"fit: metrics have the same name, {list(metrics)}; give a dict of functions by name")
    for name, function in metrics.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"fit: metrics= takes functions by name, not {name!r}: {function!r}")
        if name in ("loss", "lr"):
            raise ValueError(f"fit: the name {name!r} is taken; give the metric another one")
    return dict(metrics)


def _every_batch(scheduler: Any) -> bool:
    """Whether a schedule counts batches."""
    inside = getattr(scheduler, "schedulers", ())
    return isinstance(scheduler, (OneCycleLR, CyclicLR)) or any(_every_batch(schedule) for schedule in inside)


# The loop


class _Stop(Exception):
    """A callback has had enough."""


@dataclass
class _Run:
    model: Any
    loss: Callable[[Any, Any], Tensor]
    train: Any
    validation: Any
    metrics: dict[str, Callable[[Any, Any], Any]]
    clip_norm: float | None
    stopping: EarlyStopping
    monitored: bool
    restores: bool
    callbacks: list[Any]
    generators: Callable[[], dict[str, Any]]
    checkpoints: Checkpoints | None
    state: TrainingState
    backend: str | None

    def __post_init__(self) -> None:
        self.params = [p for group in self.state.optimizer.param_groups for p in group["params"]]
        named = {id(p) for owner in (self.model, self.loss) for p in getattr(owner, "parameters", tuple)()}
        others = [p for p in self.params if id(p) not in named]  # a checkpoint has to have them too
        self.names = {
            id(p): repr(name)
            for owner in (self.loss, self.model)
            for name, p in getattr(owner, "named_parameters", tuple)()
        }
        self.parts = Parts(
            self.model, self.state.optimizer, self.state.scheduler, self.loss, self.callbacks, others, self.stopping,
            self.generators,
        )  # fmt: skip
        self.every_batch = _every_batch(self.state.scheduler)
        self.step = Step(self.model, self.loss, self.state.optimizer, self.params, self.clip_norm, self.backend)
        self.warned = False
        self.after_epoch: list[Callable[[TrainingState], Any]] = []
        self.after_batch: list[Callable[[TrainingState], Any]] = []
        for callback in self.callbacks:
            ends = [getattr(callback, f"on_{what}_end", None) for what in ("epoch", "batch")]
            if isinstance(callback, type) or (ends == [None, None] and not callable(callback)):
                raise TypeError(
                    f"fit: a callback is a function of the state, or an object with on_epoch_end(state) or "
                    f"on_batch_end(state), not {callback!r}"
                )
            if ends == [None, None]:
                ends[0] = callback
            self.after_epoch += [ends[0]] if ends[0] else []
            self.after_batch += [ends[1]] if ends[1] else []

    def __call__(self, progress: bool | None) -> History:
        state, history, stopping = self.state, self.state.history, self.stopping
        recording = mode.get()
        bar = _bar(progress, self.train, state)
        try:
            while state.epoch < state.epochs and not stopping.stopped:
                state.epoch += 1
                state.batch = 0
                if not self.epoch(bar):
                    history.stopped = "callback"
                    break
            else:
                history.stopped = "patience" if stopping.stopped else None
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            mode.set(recording)  # which a with block that was struck at its very end has not set back
            self.settle()
        finally:
            state.output = None
            if bar is not None:
                bar.close()
        if self.monitored and self.restores:
            stopping.restore(self.model)
        self.model.eval()
        return history

    def epoch(self, bar: Any) -> bool:
        """Train for an epoch, and measure, note and keep the results; returns whether to go on."""
        state = self.state
        start, rate = time.perf_counter(), state.optimizer.param_groups[0]["lr"]
        if bar is not None:
            bar.set_description(f"epoch {state.epoch}/{state.epochs}", refresh=False)
        self.model.train()
        with enable_grad():
            try:
                row = self.learn(bar)
            except _Stop:
                return False
        if self.validation is not None:
            self.model.eval()
            with no_grad():
                row |= self.measure()
        monitor = row.get("val_loss", row["train_loss"])
        state.history.compiled = self.step.explain()
        if self.step.reasons and not self.warned:
            self.warned = True
            warnings.warn(
                f"fit: parts of this training are not compiled: {'; '.join(self.step.reasons)}", stacklevel=user_level()
            )
        state.history.append(**row, lr=rate)
        state.history.seconds.append(time.perf_counter() - start)
        if state.scheduler is not None and not self.every_batch:
            if isinstance(state.scheduler, ReduceLROnPlateau):
                state.scheduler.step(monitor)
            else:
                state.scheduler.step()
        if self.monitored:
            self.stopping.step(monitor, self.model if self.restores else None)
        if bar is not None:
            bar.set_postfix({name: f"{value:.4g}" for name, value in row.items()})
        go_on = not any([_says_stop(callback(state)) for callback in self.after_epoch])
        self.save(best=self.monitored and self.stopping.best_epoch == len(state.history))
        return go_on

    def require_finite(self, what: str, values: list[Any]) -> None:
        """Raise unless these arrays, one for each parameter (or None), have finite numbers only."""
        for p, value in zip(self.params, values):
            if value is None:
                continue
            array = plain(value) if isinstance(value, Tensor) else value
            if (
                not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all()
            ):  # vdot: one pass, no temporary
                bad = int(array.size - np.isfinite(array).sum())
                name = self.names.get(id(p), "outside the model")
                raise FloatingPointError(
                    f"fit: {what} the parameter {name} (shape {p.shape}) has {bad} of {array.size} values NaN or "
                    f"infinite in epoch {self.state.epoch}, batch {self.state.batch}; a smaller learning rate or "
                    f"clip_norm= may help, ad.detect_anomaly() shows where a gradient comes from"
                )

    def settle(self) -> None:
        """Make up for an interrupt in the middle of noting an epoch: it is noted as a whole, or not at all."""
        history = self.state.history
        history.cut(len(history.seconds))
        if self.monitored and len(history) > self.stopping.epoch:
            self.stopping.step(history.monitored[-1], self.model if self.restores else None)

    def learn(self, bar: Any) -> dict[str, float]:
        """One pass over the data, with a step after each batch; the mean loss and metrics."""
        state, params, step = self.state, self.params, self.step
        optimizer, scheduler = state.optimizer, state.scheduler if self.every_batch else None
        searches = isinstance(optimizer, LBFGS)
        means = _Means("train", self.loss, self.metrics)
        for batch in self.train:
            x, y = pair(batch, "fit: data")
            state.batch += 1
            count = means.count_in(y)
            if count == 0:
                if bar is not None:
                    bar.update()
                continue
            before = [p.data.copy() for p in params] if searches else []
            try:
                value, output = step(x, y)
            except NotFinite as found:
                _number(found.loss, state, "", x, y)
                self.require_finite("the gradient of", [p.grad for p in params])
                raise
            number = _number(value, state, "", x, y)
            if searches:
                try:
                    self.require_finite("after the step,", [p.data for p in params])
                except FloatingPointError:
                    for p, data in zip(params, before):
                        p.data = data
                    raise
            state.loss, state.output = number, output
            means.add(x, y, output, number, count)
            if scheduler is not None:
                scheduler.step()
            if bar is not None:
                bar.update()
            if self.after_batch and any([_says_stop(callback(state)) for callback in self.after_batch]):
                raise _Stop
        return means.result(state)

    def measure(self) -> dict[str, float]:
        """The mean loss and metrics of the validation data."""
        means = _Means("val", self.loss, self.metrics)
        for i, batch in enumerate(self.validation, 1):
            x, y = pair(batch, "fit: validation")
            count = means.count_in(y)
            if count == 0:
                continue
            value, output = self.step.measure(x, y)
            means.add(x, y, output, _number(value, self.state, "validation ", x, y, i), count)
        return means.result(self.state)

    # Checkpoints

    def save(self, *, best: bool) -> None:
        """Write a checkpoint, if there is a folder for it."""
        if self.checkpoints is None:
            return
        state = self.state
        if state.epoch:
            self.require_finite("after the last step,", [p.data for p in self.params])
        self.checkpoints.write(self.model.state_dict(), self.parts.state(state.epoch, state.history), best=best)

    def load(self, checkpoints: Checkpoints) -> bool:
        """Continue from a checkpoint; returns whether there is one."""
        found = checkpoints.read()
        if found is None:
            return False
        try:
            self.state.epoch, self.state.history = self.parts.restore(*found)
        except Exception as error:
            what = str(error) if isinstance(error, (ValueError, RuntimeError)) else repr(error)
            raise ValueError(f"fit: the checkpoint {checkpoints.index} does not fit this training: {what}") from error
        return True


class _Means:
    """Means of the metrics over samples, and of the loss over what its own mean divides by (see `count_of`)."""

    def __init__(self, prefix: str, loss: Any, metrics: dict[str, Callable[[Any, Any], Any]]) -> None:
        self.prefix, self.count, self.metrics = prefix, count_of(loss), metrics
        self.sums = dict.fromkeys(metrics, 0.0)
        self.samples, self.loss, self.counted, self.passed_over = 0, 0.0, 0.0, False

    def count_in(self, y: Any) -> float | None:
        """What the loss counts of a batch; 0 if it ignores all targets, and there is neither a mean nor a gradient."""
        count = counted(self.count, y)
        self.passed_over |= count == 0
        return count

    def add(self, x: Any, y: Any, output: Any, loss: float, count: float | None) -> None:
        n = len(x) if type(x) is Tensor and x.ndim else length(x, y, f"fit: {self.prefix}")
        self.samples += n
        weight = n if count is None else count
        self.loss += weight * loss
        self.counted += weight
        if self.metrics:
            with no_grad():
                constant = _detached(output)
                for name, function in self.metrics.items():
                    value = function(constant, y)
                    try:
                        self.sums[name] += n * float(value)
                    except (TypeError, ValueError):
                        raise TypeError(f"fit: the metric {name!r} must return a number, not {value!r}") from None

    def result(self, state: TrainingState) -> dict[str, float]:
        if not self.samples:
            what = "data" if self.prefix == "train" else "validation data"
            if self.passed_over:
                raise ValueError(f"fit: the loss ignores every target of the {what}")
            again = (
                "; a generator can be gone through only once, give a list or optim.batches(...)"
                if state.epoch > 1
                else ""
            )
            raise ValueError(f"fit: there are no batches of {what} in epoch {state.epoch}{again}")
        means = {f"{self.prefix}_loss": self.loss / self.counted}
        return means | {f"{self.prefix}_{name}": total / self.samples for name, total in self.sums.items()}


def _number(value: Any, state: TrainingState, what: str, x: Any, y: Any, batch: int | None = None) -> float:
    """The loss of a batch (x, y) as a number, if it is a finite one."""
    number = one_number(value, "fit")
    if not math.isfinite(number):
        fault = not_finite(x, "x") or not_finite(y, "y")
        advice = (
            f"of this batch, {fault}"
            if fault
            else "a smaller learning rate or clip_norm= may help, ad.detect_anomaly() shows where it comes from"
        )
        raise FloatingPointError(
            f"fit: the {what}loss is {number} in epoch {state.epoch}, batch {state.batch if batch is None else batch}; "
            f"{advice}"
        )
    return number


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    return type(output)(map(_detached, output)) if type(output) in (tuple, list) else output


def _says_stop(answer: Any) -> bool:
    return answer is True or (isinstance(answer, np.bool_) and bool(answer))


def _bar(progress: bool | None, train: Any, state: TrainingState) -> Any:
    """A progress bar over all batches of all epochs, or None."""
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
        needed = False
    else:
        needed = True
    if not progress:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        if needed:
            raise ImportError("fit: progress=True needs tqdm: pip install tqdm") from error
        return None
    batches = len(train) if hasattr(train, "__len__") else None
    total = None if batches is None else batches * state.epochs
    return tqdm(total=total, initial=(batches or 0) * state.epoch, unit="batch")
