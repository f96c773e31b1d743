"""`fit`: train a model, with everything that a training loop needs.

`fit` checks what it is given; `_Run` is the loop: epochs, batches, evaluation, checkpoints.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, enable_grad, no_grad
from autodiff.data import Changed, as_batches, augmented, drawing, dtype_of, not_finite, pair
from autodiff.devices import place_of
from autodiff.flags import flagged
from autodiff.generators import generators, random_state
from autodiff.leaving import user_level
from autodiff.mode import mode
from autodiff.persistence.files import FilePath
from autodiff.ranks import sum_over_ranks
from autodiff.tensor import plain

from ..lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from ..optimizer import Optimizer
from ..parallel import Averaging, Ranks, begin_alike, ending_all
from ..second_order.base import SecondOrder
from ..second_order.lbfgs import LBFGS
from ..swa import EMA, SWA
from .checkpointing import Checkpoints
from .early_stopping import EarlyStopping
from .history import History
from .metrics import Means, Metric, named
from .parts import Parts
from .progress import Progress
from .step import NotFinite, Step, backend_of, require_applicable, require_one_number


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
        output: of the model for it; among several ranks of a rank's part, None where nothing of that counts.
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


@ending_all
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
    penalty: Callable[[Any], Tensor] | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    ema: float | EMA | SWA | None = None,
    augment: Callable[[Any, Any, np.random.Generator], tuple[Any, Any]] | None = None,
    patience: float | EarlyStopping | None = None,
    restore_best_weights: bool = True,
    callbacks: Iterable[Any] = (),
    checkpoint: FilePath | None = None,
    resume: bool = False,
    rng: np.random.Generator | int | None = None,
    progress: bool | None = None,
    compile: Any = False,
    comm: Any = None,
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
            epoch; floating-point arrays are cast to the dtype of the model's parameters. Or a data set, an object with
            ``__len__`` and ``__getitem__`` and without ``__iter__``, whose items are samples (x, y); they are stacked
            to such batches. Or batches (x, y): a list, or anything else that can be iterated over again and again, such
            as `batches` returns.
        optimizer: of the model's parameters. Those whose `step` needs a closure get one: of the loss (with the
            penalty), or of the pair (output, loss) for `HessianFree`, `NaturalGradient` and `KFAC`, whose curvature
            has no part of the penalty. Within a step the closure is one function, random numbers included.
        epochs: at most so many.
        batch_size: samples in a batch of (X, y) or of a data set; None for all.
        validation: data like `data`; its order is kept.
        metrics: functions of an output and a batch of y that return a number, and names of scikit-learn's metrics
            (those of its `get_scorer`, such as "accuracy", "f1_macro" or "r2"), in a dict by name or a list. Functions
            are averaged over batches, each weighted by its number of samples; the losses too, or where the loss says
            what its mean divides by (``loss.count(y)``: targets not ignored, class weights), by that; a batch of which
            it counts nothing is passed over. Named metrics are of all outputs of the epoch together, which are kept so
            long. The class is the largest of several outputs; of a single one, the side of ``loss.threshold``.
        scheduler: of this optimiser; `OneCycleLR` and `CyclicLR` (also inside others) make a step after each of the
            optimiser's, all others after each epoch; `ReduceLROnPlateau` takes the validation loss, else the training
            loss.
        penalty: a function of the model that returns one number, a Tensor, which is added to the loss in training:
            ``lambda model: nn.penalty.l2(model, 1e-3)``.
        clip_norm: largest norm of all gradients together.
        clip_value: largest absolute value of a gradient's entries; clipped before the norm is taken.
        accumulate: batches for one step of the optimiser, whose gradient is that of the mean over all their samples
            (each batch weighted as in the mean loss). The last step of an epoch takes what is left.
        ema: average the parameters over the steps: a decay for `optim.swa.EMA`, or such an object of your own (or an
            `SWA`). The averages are measured on the validation data, and are the best and the final weights; callbacks
            and the next step meet the parameters themselves. Buffers are not averaged (as by default in PyTorch's
            AveragedModel): a batch norm's running averages stay those of the steps, and `optim.swa.update_bn` makes
            those of the averages.
        augment: called with each batch of training, as arrays, and with `rng`; returns another one (x, y), whose arrays
            are cast as those of `data` are.
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
            that are attributes of the model's modules, the loss, the optimiser, the data, `augment` or a callback.
        rng: generator for the order of the samples and for `augment`, or a seed; a fresh one by default.
        progress: show how far it is, on stderr: a progress bar (tqdm) on a terminal and in a notebook (with
            ipywidgets), elsewhere a line for each epoch; by default on a terminal alone.
        compile: True to run the steps and the validation as programs (`autodiff.compile`), in machine code where
            llvmlite is installed; "numpy" or "native" for one of its back ends. The numbers are the same to rounding,
            which over many steps grows, in float32 into digits that are seen. Each shape of batch is traced and
            compiled first, for which on small data sets the first epochs pay. What no program can repeat runs as it is,
            after a warning that says why; ``history.compiled`` says what was compiled. The model and the loss are
            called with traced arrays at the first batch of each shape alone, so that what they print or append appears
            then.
        comm: a communicator of mpi4py, such as ``MPI.COMM_WORLD``, on all of whose ranks `fit` is called alike: the
            training of one process, each step's batch divided among them. They begin with rank 0's weights, state of
            the optimiser and schedule, and `rng`. Of (X, y) and of data sets, the same on all ranks, each takes its
            part of every batch (`batch_size` samples for all ranks together); batches are each rank's own, of any size,
            and as many on all. Gradients, losses and metrics are means over all samples, weighted as over batches, and
            the numbers are those of one process to rounding, but for dropout (each rank draws from its own generators),
            batch norm (the statistics are those of a rank's part; the running averages are averaged after each epoch,
            weighted by samples), metrics that are no means over samples, and `augment` (which draws apart on each
            rank). Callbacks are called on all ranks that have some; one rank that stops, stops all, and those of rank 0
            are in the checkpoint. Rank 0 shows the progress and alone touches `checkpoint`, from which as many ranks
            resume to the last bit, each with its own random generators, and another number can (a rank that joins draws
            as it begins). An exception on one rank ends the processes of all (``comm.Abort``).

    Returns:
        The history: "train_loss" (without the penalty), "val_loss", "train_" and "val_" and the name for each metric,
        "penalty", with `clip_norm` "grad_norm" (of the gradient before it was scaled), both as means over the epoch,
        and "lr", the learning rate at the start of the epoch, if the optimiser has one; ``history.seconds`` says how
        long each epoch took. The training loss is the mean of the batches' losses as they went by. Ctrl-C ends the
        training early, and the history of complete epochs is returned.

    Raises:
        FloatingPointError: if a loss, a gradient or a parameter becomes NaN or infinite, naming epoch and batch, and
            the row of the batch if that is where it comes from. Of a
            loss or a gradient, the weights are those before its step; a checkpoint always holds finite ones.
        RuntimeError: if another training that is still going on writes into the folder `checkpoint`.
        ValueError: if its files are damaged or missing, or of a training with other parts; nothing is changed then. For
            clipping or accumulation of an optimiser that takes the loss's derivatives by itself, and for a loss that
            depends on no parameter which is trained.
        ValueError: on all ranks (an ``autodiff.ranks.Disagreement``), where their models, arguments, numbers of
            batches, or weights after an epoch differ, with the ranks.
        TypeError, ValueError: for data that are empty, of different lengths, sparse or no numbers, for NaN or infinity
            in arrays of all samples, and for arguments out of range.
        Whatever the model and the loss raise (labels of a wrong kind, say).

    >>> import numpy as np, nn, optim
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array([0, 1, 1, 0])
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(2, 8, rng=rng), nn.Tanh(), nn.Linear(8, 2, rng=rng))
    >>> adam = optim.Adam(model.parameters(), lr=0.1)
    >>> history = optim.fit(model, nn.CrossEntropyLoss(), (X, y), optimizer=adam, epochs=50, rng=rng)
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
    for name, bound in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        numeric = isinstance(bound, (int, float, np.number)) and not isinstance(bound, bool)
        if bound is not None and not (numeric and 0 < bound < math.inf):
            raise ValueError(f"fit: {name} must be a positive number, not {bound!r}")
    if isinstance(accumulate, bool) or not isinstance(accumulate, (int, np.integer)) or accumulate < 1:
        raise ValueError(f"fit: accumulate must be a number of batches, at least 1, not {accumulate!r}")
    require_applicable(
        optimizer, clip_norm=clip_norm, clip_value=clip_value, accumulate=None if accumulate == 1 else accumulate
    )
    for name, function in (("penalty", penalty), ("augment", augment)):
        if function is not None and (not callable(function) or isinstance(function, type)):
            raise TypeError(
                f"fit: {name}= takes a function of {'the model' if name == 'penalty' else 'x, y and a generator'}, not "
                f"{function!r}"
            )
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(f"fit: checkpoint= takes the path of a folder, not {checkpoint!r}")
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the folder to continue from")
    rng = drawing(rng, "fit")
    stopping = patience
    if not isinstance(stopping, EarlyStopping):
        stopping = EarlyStopping(math.inf if stopping is None else stopping, restore_best=restore_best_weights)
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks= takes a list of functions or objects, not {callbacks!r}")
    callbacks, dtype = list(callbacks), dtype_of(model)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    place = place_of(plain(trained[0])) if trained else None
    train = as_batches(data, batch_size, rng, dtype, "fit: data", place if augment is None else None)
    valid: Any = validation
    if valid is not None:
        valid = as_batches(validation, batch_size, None, dtype, "fit: validation", place)
    measured, apart, divided = named(metrics), rng, False
    if comm is not None:
        begin_alike(
            "fit", comm, model, loss, optimizer, rng, {"the data": data, "the validation data": validation}, train,
            scheduler, epochs=epochs, accumulate=accumulate, clip_norm=clip_norm, clip_value=clip_value,
            batch_size=batch_size, ema=(ema, getattr(ema, "decay", None)), compile=compile,
            patience=(stopping.patience, stopping.min_delta, stopping.compare, stopping.strict),
            restore_best_weights=(bool(restore_best_weights), stopping.restore_best),
            metrics=(list(measured[0]), measured[1]),
            validation=validation is not None, penalty=penalty is not None, augment=augment is not None,
            checkpoint=checkpoint is not None, resume=resume,
        )  # fmt: skip
        train = train if train is data else train.part(comm.rank, comm.size)
        divided = valid is not validation
        valid = valid.part(comm.rank, comm.size) if divided else valid
        if augment is not None:
            spawned = comm.bcast(None if comm.rank else rng.spawn(comm.size))
            apart = spawned[comm.rank] if comm.rank else rng
        progress = progress if comm.rank == 0 else False
    average = ema if ema is None or isinstance(ema, (EMA, SWA)) else EMA(trained, ema)
    if average is not None and {id(p) for p in trained}.isdisjoint(map(id, average.params)):
        raise ValueError(
            f"fit: ema={average!r} averages none of the parameters that the optimiser trains; make it of "
            f"model.parameters(), or give its decay"
        )
    if average is not None and comm is not None:
        average.load_state_dict(comm.bcast(average.state_dict()))
    if augment is not None:
        train = Changed(train, augmented(augment, apart, dtype, "fit: augment", place), "fit: data")

    def found() -> dict[str, Any]:
        return generators(
            rng=rng, model=model, loss=loss, optimizer=optimizer, data=data, validation=validation, augment=augment,
            callbacks=callbacks, **({} if apart is rng else {"apart": apart}),
        )  # fmt: skip

    step = Step(
        model, loss, optimizer, trained, clip_norm=clip_norm, clip_value=clip_value, penalty=penalty,
        accumulate=int(accumulate), generators=found, backend=backend_of(compile),
        averaging=None if comm is None else Averaging(trained, comm),
    )  # fmt: skip
    parts = ("train",) if validation is None else ("train", "val")
    columns = {f"{part}_{name}" for part in parts for name in ("loss", *measured[0], *measured[1])}
    columns |= {name for name, asked in (("penalty", penalty), ("grad_norm", clip_norm)) if asked is not None}
    run = _Run(
        model=model,
        loss=loss,
        train=train,
        validation=valid,
        divided=divided,
        metrics=measured,
        columns=columns,
        params=trained,
        step=step,
        average=average,
        stopping=stopping,
        monitored=validation is not None or patience is not None,
        restores=bool(restore_best_weights) and stopping.restore_best,
        callbacks=callbacks,
        generators=found,
        saves=checkpoint is not None,
        checkpoints=None if checkpoint is None or (comm is not None and comm.rank) else Checkpoints(checkpoint),
        state=TrainingState(model, optimizer, scheduler, int(epochs), History()),
        ranks=None if comm is None else Ranks(comm, "fit"),
        rng=rng,
        place=place,
    )
    with nullcontext() if run.checkpoints is None else run.checkpoints.alone():
        if not (resume and run.load()):
            stopping.reset()
            if run.checkpoints is not None:
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
            f"{where}: the model must be a module, not {model!r:.80}" + f" (no {', '.join(missing)})" * bool(missing)
        )
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(
            f"{where}: loss takes a function of output and target, such as nn.CrossEntropyLoss(), not {loss!r:.80}"
        )
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{where}: optimizer= takes an optimiser, such as optim.Adam(model.parameters()), not {optimizer!r:.80}"
        )
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(f"{where}: the optimiser has none of the model's parameters; was it made for another model?")


def one_number(value: Any, where: str) -> float:
    """What a loss returned, as a number."""
    require_one_number(value, where)
    return float(value.item())


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
    divided: bool  # its batches, each among the ranks
    metrics: tuple[dict[str, Metric], dict[str, str]]
    columns: set[str]
    params: list[Tensor]
    step: Step
    average: EMA | SWA | None
    stopping: EarlyStopping
    monitored: bool
    restores: bool
    callbacks: list[Any]
    generators: Callable[[], dict[str, Any]]
    saves: bool  # which rank 0 does
    checkpoints: Checkpoints | None
    state: TrainingState
    ranks: Ranks | None
    rng: np.random.Generator
    place: Any

    def __post_init__(self) -> None:
        named = {id(p) for owner in (self.model, self.loss) for p in getattr(owner, "parameters", tuple)()}
        others = [p for p in self.params if id(p) not in named]  # a checkpoint has to have them too
        self.names = {
            id(p): repr(name)
            for owner in (self.loss, self.model)
            for name, p in getattr(owner, "named_parameters", tuple)()
        }
        self.parts = Parts(
            self.model, self.state.optimizer, self.state.scheduler, self.loss, self.callbacks, others, self.stopping,
            self.generators, self.average, self.columns,
        )  # fmt: skip
        self.comm = None if self.ranks is None else self.ranks.comm
        self.every_batch = _every_batch(self.state.scheduler)
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
        self.progress = Progress(progress, self.train, state.epochs, state.epoch)
        try:
            while state.epoch < state.epochs and not stopping.stopped:
                state.epoch += 1
                state.batch = 0
                if not self.epoch():
                    history.stopped = "callback"
                    break
            else:
                history.stopped = "patience" if stopping.stopped else None
        except KeyboardInterrupt:
            if self.ranks is not None and self.ranks.comm.size > 1:
                raise
            history.stopped = "interrupted"
            mode.set(recording)  # which a with block that was struck at its very end has not set back
            self.settle()
        finally:
            state.output = None
            self.progress.close()
        if self.average is not None:
            self.average.copy_to()
        if self.monitored and self.restores:
            stopping.restore(self.model)
        self.model.eval()
        return history

    def averaged(self) -> AbstractContextManager[None]:
        """A context inside which the weights are the averages, if there are any."""
        return nullcontext() if self.average is None else self.average.applied()

    def epoch(self) -> bool:
        """Train for an epoch, and measure, note and keep the results; returns whether to go on."""
        state = self.state
        start, group = time.perf_counter(), state.optimizer.param_groups[0]
        rate = {"lr": group["lr"]} if "lr" in group else {}
        self.progress.begin(state.epoch)
        self.model.train()
        with enable_grad():
            try:
                row = self.learn()
            except _Stop:
                return False
        if self.ranks is not None:
            self.ranks.require_same_weights(
                {self.names.get(id(p), f"parameter {i}"): p for i, p in enumerate(self.params)},
                f"after epoch {state.epoch}",
            )
        if self.validation is not None:
            self.model.eval()
            with no_grad(), self.averaged():
                row |= self.measure()
        monitor = row.get("val_loss", row["train_loss"])
        state.history.compiled = self.step.explain()
        if self.step.reasons and not self.warned:
            self.warned = True
            warnings.warn(
                f"fit: parts of this training are not compiled: {'; '.join(self.step.reasons)}", stacklevel=user_level()
            )
        state.history.append(**row, **rate)
        state.history.seconds.append(time.perf_counter() - start)
        if state.scheduler is not None and not self.every_batch:
            if isinstance(state.scheduler, ReduceLROnPlateau):
                state.scheduler.step(monitor)
            else:
                state.scheduler.step()
        if self.monitored:
            with self.averaged():
                self.stopping.step(monitor, self.model if self.restores else None)
        self.progress.end(row)
        go_on = not self.any([_says_stop(callback(state)) for callback in self.after_epoch])
        self.save(best=self.monitored and self.stopping.best_epoch == len(state.history))
        return go_on

    def any(self, answers: list[bool]) -> bool:
        """Whether somebody says so, on any rank."""
        return any(answers) if self.ranks is None else self.ranks.any(any(answers))

    def require_finite(self, what: str, values: list[Any]) -> None:
        """Raise unless these arrays, one for each parameter (or None), have finite numbers only."""
        for p, value in zip(self.params, values):
            if value is None:
                continue
            array = plain(value) if isinstance(value, Tensor) else value
            if (
                not math.isfinite(np.vdot(array, array).real) and not np.isfinite(array).all()
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
            with self.averaged():
                self.stopping.step(history.monitored[-1], self.model if self.restores else None)

    def learn(self) -> dict[str, float]:
        """One pass over the data, with a step after each batch, or after several; the mean loss and metrics."""
        state, means = self.state, Means("train", self.loss, *self.metrics, self.comm)
        stops = False
        if self.comm is not None:  # `augment` may have drawn from it here and not there
            self.rng.bit_generator.state = self.comm.bcast(self.rng.bit_generator.state)
        for batch in self.train:
            x, y = pair(batch, "fit: data", self.place)
            state.batch += 1
            samples, count = means.samples_in(x, y), means.count_in(y)
            weight = float(samples if count is None else count)
            total = self.meet(weight, stops)
            if not total:
                self.progress.batch()
                continue
            value, state.output, numbers = self.advance(x, y, weight, count)
            number = _number(value, state, "", x, y)
            if samples and not weight and means.metrics:  # they are of samples, which others' count
                with no_grad():
                    state.output = self.step.measure(x, y)[1]
            if weight or (samples and means.metrics):
                means.add(samples, y, state.output, number, count)
            state.loss = number if self.comm is None else float(sum_over_ranks(weight / total * number, self.comm))
            means.note(numbers)
            if not self.step.pending:
                self.stepped()
            self.progress.batch()
            stops = any([_says_stop(callback(state)) for callback in self.after_batch])
            if stops and self.ranks is None:
                raise _Stop
        if self.ranks is not None:
            self.meet(None, stops)
        if self.step.pending:
            means.note(self.step.finish())
            self.stepped()
        if self.ranks is not None:
            self.ranks.average_buffers(self.model, means.samples)
        if means.samples and not self.step.reached:
            raise ValueError(
                "fit: the loss of no batch depends on a parameter that the optimiser trains; was something detached, "
                "made a new Tensor, or computed by another model?"
            )
        return means.result(state.epoch)

    def meet(self, weight: float | None, stops: bool) -> float:
        """What a batch counts on all ranks together."""
        if self.ranks is None:
            return weight or 0.0
        batch = self.state.batch + (weight is None)
        place, all_of = f"batch {batch} of epoch {self.state.epoch}", isinstance(self.state.optimizer, SecondOrder)
        total, stop = self.ranks.meet(weight, place, stops, self.params, all_of)
        if stop:
            raise _Stop
        if weight is not None and total:
            self.step.weigh(weight, total)
        return total

    def advance(self, x: Any, y: Any, weight: float, count: float | None) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """A step on a batch, or a part of one; before one that leads to what is not finite, the weights are kept."""
        searches = isinstance(self.state.optimizer, (LBFGS, SecondOrder))
        before = [p.data.copy() for p in self.params] if searches else []
        try:
            found = self.step(x, y, weight, count)
            if searches:
                self.require_finite("after the step,", [p.data for p in self.params])
        except NotFinite as error:
            value, _, numbers = error.found
            _number(value, self.state, "", x, y)
            for name, number in numbers.items():
                _number(number, self.state, f"{name} beside the ", x, y)
            self.require_finite("the gradient of", [p.grad for p in self.params])
            where = f"epoch {self.state.epoch}, batch {self.state.batch}"
            raise FloatingPointError(f"fit: {error.__cause__ or error} in {where}") from error
        except FloatingPointError:
            for p, data in zip(self.params, before):
                p.data = data
            raise
        except np.linalg.LinAlgError as error:
            error.add_note(f"fit: in epoch {self.state.epoch}, batch {self.state.batch}")
            raise
        return found

    def stepped(self) -> None:
        """What follows a step of the optimiser."""
        if self.average is not None:
            self.average.update()
        if self.every_batch and self.state.scheduler is not None:
            self.state.scheduler.step()

    def measure(self) -> dict[str, float]:
        """The mean loss and metrics of the validation data."""
        means = Means("val", self.loss, *self.metrics, self.comm)
        for i, batch in enumerate(self.validation, 1):
            x, y = pair(batch, "fit: validation", self.place)
            samples, count = means.samples_in(x, y), means.count_in(y)
            whole = float(samples if count is None else count)
            if self.divided:  # the metrics are of all samples of a batch, if the loss counts some on any rank
                whole = float(sum_over_ranks(whole, self.comm))
            if not samples or not whole or (count == 0 and not (means.metrics or means.scores)):
                continue
            value, output = self.step.measure(x, y)
            number = _number(value, self.state, "validation ", x, y, i) if count != 0 else 0.0
            means.add(samples, y, output, number, count)
        return means.result(self.state.epoch)

    # Checkpoints

    def save(self, *, best: bool) -> None:
        """Write a checkpoint, if there is a folder for it."""
        drawn = None
        if self.comm is not None and self.saves:
            drawn = self.comm.gather(random_state(self.generators()))
        if self.checkpoints is None:
            return
        state = self.state
        if state.epoch:
            self.require_finite("after the last step,", [p.data for p in self.params])
        rest = self.parts.state(state.epoch, state.history)
        rest |= {"random of other ranks": drawn[1:]} if drawn else {}
        with self.averaged():
            self.checkpoints.write(self.model.state_dict(), rest, best=best)

    def load(self) -> bool:
        """Continue from a checkpoint, which rank 0 reads for all; returns whether there is one."""
        found = None if self.checkpoints is None else self.checkpoints.read()
        found = found if self.comm is None else self.comm.bcast(found)
        if found is None:
            return False
        try:
            weights, best, saved = found
            if self.comm is not None and self.comm.rank:  # one that has none in there goes on as it began
                drawn = dict(enumerate(saved.get("random of other ranks", []), 1))
                saved = saved | {"random": drawn.get(self.comm.rank, random_state(self.generators()))}
                own = len(self.parts.owners) - 1
                if own != len(saved["callbacks"]):  # rank 0's, that are its alone
                    saved = saved | {"callbacks": [None] * own}
            self.state.epoch, self.state.history = self.parts.restore(weights, best, saved)
        except Exception as error:
            what = str(error) if isinstance(error, (ValueError, RuntimeError)) else repr(error)
            index = "of rank 0" if self.checkpoints is None else self.checkpoints.index
            raise ValueError(f"fit: the checkpoint {index} does not fit this training: {what}") from error
        return True


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


def _says_stop(answer: Any) -> bool:
    return answer is True or (isinstance(answer, np.bool_) and bool(answer))
