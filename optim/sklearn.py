"""Networks as scikit-learn estimators: `NetClassifier` and `NetRegressor`, for its pipelines, searches and validation.

The network is whatever a function makes (`module=`, typically a function of layers of nn). By default it is a small
multilayer perceptron that stands here, since optim knows no layers: plain Tensors with the methods that `fit` asks for.
scikit-learn is needed to import this module, and nothing else imports it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("optim.sklearn needs scikit-learn 1.6 or later: pip install -U scikit-learn") from error

import autodiff as ad
from autodiff import Tensor, no_grad
from autodiff.averaging import count_of, counted
from autodiff.data import dtype_of
from autodiff.tensor import plain, wrap

from .array import Array
from .first_order.adam import Adam
from .lr_scheduler import LRScheduler
from .optimizer import Optimizer
from .training.fit import fit as train
from .training.history import History

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ad.relu, "tanh": ad.tanh, "sigmoid": ad.sigmoid, "softplus": ad.softplus, "identity": lambda x: x,
}  # fmt: skip
_DTYPES = (np.float64, np.float32)
_OF_MODULE = "module__"
_ROWS = 4096
"""Predictions are made for so many samples at a time."""


class MLP:
    """The default network: x ← activation(x Wᵀ + b), layer after layer, the last one without activation.

    Weights are uniform in ±√(6 / (inputs + outputs)) (for ReLU √2 times as wide), biases are zero.

    Args:
        sizes: the numbers of inputs, of units in each hidden layer, and of outputs.
        activation: "relu", "tanh", "sigmoid", "softplus" or "identity".
        rng: generator of the weights.
        dtype: of the parameters.
    """

    def __init__(self, sizes: Sequence[int], activation: str, rng: np.random.Generator, dtype: Any) -> None:
        self.sizes, self.activation, self.training = list(sizes), activation, True
        self._state: dict[str, Tensor] = {}
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = math.sqrt((12 if activation == "relu" else 6) / (inputs + outputs))
            weight = rng.uniform(-bound, bound, (outputs, inputs)).astype(dtype)
            self._state[f"{i}.weight"] = Tensor(weight, requires_grad=True)
            self._state[f"{i}.bias"] = Tensor(np.zeros(outputs, dtype), requires_grad=True)

    def __call__(self, x: Any) -> Any:
        last = len(self.sizes) - 2
        for i in range(last + 1):
            x = x @ self._state[f"{i}.weight"].T + self._state[f"{i}.bias"]
            x = _ACTIVATIONS[self.activation](x) if i < last else x
        return x

    def parameters(self) -> Iterator[Tensor]:
        """Weight and bias of each layer."""
        return iter(self._state.values())

    def state_dict(self) -> dict[str, Tensor]:
        """The parameters by name: "0.weight", "0.bias", "1.weight" …"""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the values of a state of the same names and shapes."""
        for name, p in self._state.items():
            p.data = np.array(state[name].data if isinstance(state[name], Tensor) else state[name], p.dtype)

    def train(self, mode: bool = True) -> MLP:
        """Training mode, which makes no difference here."""
        self.training = mode
        return self

    def eval(self) -> MLP:
        """Evaluation mode."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"MLP({'-'.join(map(str, self.sizes))}, {self.activation})"


class _Net(BaseEstimator):  # type: ignore[misc]  # scikit-learn comes without types
    """What both estimators share: the training."""

    def __init__(
        self,
        hidden: int | Sequence[int] = (100,),
        *,
        activation: str = "relu",
        module: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        optimizer: Callable[..., Optimizer] = Adam,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        batch_size: int | None = 32,
        epochs: int = 100,
        clip_norm: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        random_state: Any = None,
        progress: bool = False,
        callbacks: Sequence[Any] = (),
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        **module_options: Any,
    ) -> None:
        # scikit-learn's rule: keep the arguments as they are, and check them in `fit`.
        self.hidden = hidden
        self.activation = activation
        self.module = module
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.clip_norm = clip_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.progress = progress
        self.callbacks = callbacks
        self.scheduler = scheduler
        for name, value in module_options.items():
            if not name.startswith(_OF_MODULE):
                raise TypeError(
                    f"{type(self).__name__}() has no parameter {name!r}; one of module= is {_OF_MODULE}{name}"
                )
            setattr(self, name, value)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, those of `module` too.

        Args:
            deep: whether those of parameters that are estimators are among them.
        """
        return {**super().get_params(deep), **{k: v for k, v in vars(self).items() if k.startswith(_OF_MODULE)}}

    def set_params(self, **params: Any) -> Any:
        """Change parameters; returns the estimator itself.

        Args:
            params: by name; ``module__width=32`` is the parameter `width` of `module`.

        Raises:
            ValueError: for a name that there is not.
        """
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(_OF_MODULE)})
        for name, value in params.items():
            if name.startswith(_OF_MODULE):
                setattr(self, name, value)
        return self

    # What the two define

    def _learn_targets(self, y: Array) -> int:
        """Take note of what the targets are like; returns how many outputs the network must have."""
        raise NotImplementedError

    def _targets(self, y: Array) -> Array:
        """The targets as the loss takes them."""
        raise NotImplementedError

    def _losses(self, output: Any, target: Any) -> Any:
        """The loss of each sample."""
        raise NotImplementedError

    def _strata(self, target: Array, held_out: int) -> Array | None:
        """By what the samples are stratified when some are held out."""
        return None

    def _weighted(self, y: Array, weight: Array | None) -> Array | None:
        """The weights of the samples, with those of their classes."""
        return weight

    # Training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train a new network.

        Args:
            X: samples, shape (samples, features).
            y: targets, shape (samples,), for a regressor also (samples, outputs).
            sample_weight: weight of each sample's loss, shape (samples,).

        Returns:
            the estimator itself.

        Raises:
            TypeError, ValueError: for data that are no numbers, not finite or do not fit, and parameters out of range.
            FloatingPointError: if the loss becomes NaN or infinite.
        """
        X, y, weight = self._checked(X, y, sample_weight, reset=True)
        weight = self._weighted(y, weight)
        self._n_outputs = self._learn_targets(y)
        self._begin(X)
        self._train(X, self._targets(y), weight, self.epochs, bool(self.early_stopping))
        return self

    def _go_on(self, X: Any, y: Any, sample_weight: Any, targets: Any = None) -> Any:
        """One more epoch."""
        first = not hasattr(self, "module_")
        X, y, weight = self._checked(X, y, sample_weight, reset=first)
        if first:
            self._n_outputs = self._learn_targets(y if targets is None else np.asarray(targets))
        target = self._targets(y)
        if first:
            self._begin(X)
        self._train(X, target, self._weighted(y, weight), 1, False)
        return self

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[Array, Array, Array | None]:
        several = dict(multi_output=True, y_numeric=True) if isinstance(self, RegressorMixin) else {}
        if several and np.asarray(y).dtype.kind in "OUS":
            text = [value for value in np.ravel(y) if isinstance(value, (str, bytes))]
            if text:
                raise ValueError(
                    f"{type(self).__name__}: y holds text, such as {str(text[0])!r}, and a regressor learns numbers; "
                    f"for labels there is NetClassifier"
                )
        X, y = validate_data(self, X, y, reset=reset, dtype=_DTYPES, **several)
        if sample_weight is None:
            return X, y, None
        weight = _check_sample_weight(sample_weight, X)
        if (weight < 0).any() or not weight.any():
            raise ValueError(f"{type(self).__name__}: sample_weight must be at least 0, and not 0 throughout")
        return X, y, weight

    def _begin(self, X: Array) -> None:
        """Make the random generator, the network and its optimiser."""
        if not callable(self.optimizer):
            hint = "a function that makes an optimiser, such as optim.SGD"
            raise TypeError(f"{type(self).__name__}: optimizer must be {hint}, not {self.optimizer!r}")
        self._rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        self.module_ = self._network(X.shape[1], self._n_outputs, X.dtype)
        options = {"weight_decay": self.weight_decay} if self.weight_decay else {}
        takes = inspect.signature(self.optimizer).parameters
        if "lr" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            options["lr"] = self.lr
        elif self.lr != inspect.signature(type(self)).parameters["lr"].default:
            raise ValueError(f"{type(self).__name__}: lr={self.lr!r} is given, and the optimizer has no learning rate")
        self.optimizer_ = self.optimizer(self.module_.parameters(), **options)
        if self.scheduler is not None and not callable(self.scheduler):
            raise TypeError(
                f"{type(self).__name__}: scheduler must be a function of the optimiser that makes a schedule, such as "
                f"lambda o: optim.lr_scheduler.StepLR(o, 10), not {self.scheduler!r}"
            )
        self._schedule = None if self.scheduler is None else self.scheduler(self.optimizer_)
        self.history_ = History()
        self.n_iter_ = 0

    def _network(self, inputs: int, outputs: int, dtype: Any) -> Any:
        name = type(self).__name__
        own = {k.removeprefix(_OF_MODULE): v for k, v in vars(self).items() if k.startswith(_OF_MODULE)}
        if self.module is None and own:
            raise ValueError(f"{name}: {_OF_MODULE}{next(iter(own))} is a parameter of module=, and there is none")
        if self.module is not None:
            for option in ("hidden", "activation"):
                value, default = getattr(self, option), inspect.signature(type(self)).parameters[option].default
                if not np.array_equal(value, default):
                    raise ValueError(
                        f"{name}: {option}={value!r} is for the default network, and module= makes another one; leave "
                        f"one of them out"
                    )
            if not callable(self.module) or (hasattr(self.module, "parameters") and not isinstance(self.module, type)):
                raise TypeError(
                    f"{name}: module must be a function of (n_features, n_outputs) that makes a new network for each "
                    f"fit, not {type(self.module).__name__}; write lambda n, k: nn.Sequential(nn.Linear(n, k))"
                )
            takes_rng = "rng" in inspect.signature(self.module).parameters
            return self.module(inputs, outputs, **({"rng": self._rng} if takes_rng else {}), **own)
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"{name}: activation must be one of {', '.join(_ACTIVATIONS)}, not {self.activation!r}")
        hidden = [self.hidden] if isinstance(self.hidden, (int, np.integer)) else list(self.hidden)
        if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in hidden):
            raise ValueError(f"{name}: hidden must be the numbers of units in the hidden layers, not {self.hidden!r}")
        return MLP([inputs, *map(int, hidden), outputs], self.activation, self._rng, dtype)

    def _train(self, X: Array, target: Array, weight: Array | None, epochs: int, early_stopping: bool) -> None:
        name = type(self).__name__
        if weight is not None:  # a weight of 0 is as if there were no such sample, which batches must not notice
            used = weight > 0
            X, target, weight = X[used], target[used], weight[used] / weight[used].mean()
        rows = np.arange(len(X))  # the loss looks up by row number what belongs to a sample: its target and its weight
        data, validation = (X, rows), None
        if early_stopping:
            part = self.validation_fraction
            count = math.ceil(part * len(X)) if isinstance(part, float) else part
            seed = int(self._rng.integers(2**31))
            strata = self._strata(target, count)
            kept, held_out = train_test_split(rows, test_size=part, random_state=seed, stratify=strata)
            data, validation = (X[kept], kept), (X[held_out], held_out)

        def loss(output: Any, row: Tensor) -> Any:
            if output.shape != (row.size, self._n_outputs):
                expected = (row.size, self._n_outputs)
                raise ValueError(f"{name}: module must give outputs of shape {expected}, not {output.shape}")
            wanted = target[plain(row)]
            wanted = wrap(wanted.astype(output.dtype, copy=False) if wanted.dtype.kind == "f" else wanted)
            losses = self._losses(output, wanted) if self.loss is None else self.loss(output, wanted)
            if weight is not None:
                if losses.shape[:1] != row.shape:
                    raise ValueError(
                        f"{name}: sample_weight needs a loss for each sample (reduction='none'), of shape "
                        f"({row.size},), not {losses.shape}"
                    )
                w = weight[plain(row)].astype(losses.dtype)
                losses = losses * w.reshape(-1, *[1] * (losses.ndim - 1))
            return losses.mean() if losses.ndim else losses

        divisor = count_of(self.loss)
        if divisor is not None:
            loss.count = lambda row: counted(divisor, target[plain(row)])  # type: ignore[attr-defined]  # as fit asks
        history = train(
            self.module_,
            loss,
            data,
            optimizer=self.optimizer_,
            epochs=epochs,
            batch_size=self.batch_size,
            validation=validation,
            scheduler=self._schedule,
            clip_norm=self.clip_norm,
            callbacks=self.callbacks,
            patience=None if validation is None else self.patience,
            rng=self._rng,
            progress=bool(self.progress),
        )
        before = self.history_
        if len(before):
            columns = [column for column in before.keys() if column in history]
            self.history_ = History.from_dict({column: before[column] + history[column] for column in columns})
            self.history_.seconds = before.seconds + history.seconds
            self.history_.stopped = history.stopped
        else:
            self.history_ = history
        self.n_iter_ = len(self.history_)
        if history.stopped == "interrupted":  # what is learned stays, but a search around this must end, too
            raise KeyboardInterrupt

    def _forward(self, X: Any) -> Array:
        """The outputs of the network in evaluation mode."""
        check_is_fitted(self, "module_")
        X = validate_data(self, X, reset=False, dtype=_DTYPES)
        X = X.astype(dtype_of(self.module_) or X.dtype, copy=False)
        self.module_.eval()
        with no_grad():
            parts = [np.asarray(self.module_(wrap(X[i : i + _ROWS]))) for i in range(0, len(X), _ROWS)]
        return np.concatenate(parts)


def _names(function: Any) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]


# scikit-learn reads the names here, and those of `module` are no names of its own
_Net.__init__.__signature__ = inspect.Signature(_names(_Net.__init__))  # type: ignore[attr-defined]


class NetClassifier(ClassifierMixin, _Net):  # type: ignore[misc]  # scikit-learn comes without types
    """A classifier: a network whose outputs are the logits of the classes, trained with the cross-entropy.

    Args:
        hidden: numbers of units in the hidden layers of the default network; () for none. Not with `module`.
        activation: of its hidden layers: "relu", "tanh", "sigmoid", "softplus" or "identity". Not with `module`.
        module: a function that makes another network, called as ``module(n_features, n_outputs)``, such as
            ``lambda n, k: nn.Sequential(nn.Linear(n, 32), nn.ReLU(), nn.Linear(32, k))``. There is an output for each
            class. If it has a parameter `rng`, it gets the generator that `random_state` seeds; otherwise initial
            weights come from where its layers take them (`nn.manual_seed`). With ``n_jobs`` it must be a function that
            can be pickled. Other parameters of it are parameters of the estimator, ``module__width=32``, also of
            `set_params` and of a search.
        loss: a function of the outputs and the targets (here the classes by number) to minimise instead; its mean, if
            it returns a loss for each sample, which `sample_weight` needs.
        optimizer: a function that makes an optimiser, called as ``optimizer(parameters, lr=lr)``: a class such as
            ``optim.SGD``, or ``functools.partial(optim.SGD, momentum=0.9)``.
        lr: the learning rate; left out for an optimiser without.
        weight_decay: handed to the optimiser, unless it is 0.
        batch_size: samples in a batch; None for all.
        epochs: passes over the samples, at most.
        clip_norm: largest norm of all gradients together.
        early_stopping: hold out a part of the samples, stop when the loss there has not improved for `patience` epochs,
            and end with the weights that were best.
        validation_fraction: that part, or a number of samples.
        patience: a number of epochs.
        random_state: a seed, a RandomState or None: for initial weights, the order of samples, and what is held out.
        progress: show a progress bar, or off a terminal a line for each epoch.
        callbacks: of the training, see `fit`; ``clone`` copies them.
        scheduler: a function that makes a schedule of the optimiser, ``lambda o: optim.lr_scheduler.StepLR(o, 10)``.
        class_weight: weights of the classes by label, which those of their samples are multiplied with; "balanced" for
            weights such that all classes count the same.

    Attributes:
        classes_: the labels, sorted; numbers, strings or anything else that NumPy can sort.
        module_: the network, in evaluation mode.
        optimizer_: its optimiser.
        history_: the `History` of the training.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Floating-point inputs are cast to the dtype of the network's parameters, which in the default network is that of X.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from optim.sklearn import NetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NetClassifier((16,), random_state=0))
    >>> bool(cross_val_score(model, X, y).mean() > 0.9)
    True
    """

    def __init__(self, *args: Any, class_weight: Mapping[Any, float] | str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.class_weight = class_weight

    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*_names(_Net.__init__), inspect.signature(__init__).parameters["class_weight"]]
    )

    def _weighted(self, y: Array, weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return weight
        found: Array = compute_sample_weight(self.class_weight, y) * (1 if weight is None else weight)
        if (found < 0).any() or not found.any():
            raise ValueError(
                f"NetClassifier: class_weight must be at least 0, and not 0 for all samples, not {self.class_weight!r}"
            )
        return found

    def _targets(self, y: Array) -> Array:
        found = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        wrong = self.classes_[found] != y
        if wrong.any():
            raise ValueError(f"NetClassifier: y has labels {np.unique(y[wrong])} that are not among {self.classes_}")
        return found

    def _learn_targets(self, y: Array) -> int:
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return len(self.classes_)

    def _losses(self, output: Any, target: Any) -> Any:
        return ad.cross_entropy(output, target, reduction="none")

    def _strata(self, target: Array, held_out: int) -> Array | None:
        counts = np.bincount(target)
        counts = counts[counts > 0]
        fits = counts.min() > 1 and len(counts) <= min(held_out, len(target) - held_out)
        return target if fits else None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train for one epoch, on from where the last call (or `fit`) ended.

        Args:
            X: samples, shape (samples, features).
            y: labels, shape (samples,).
            classes: all labels that will ever come; the first call needs it.
            sample_weight: weight of each sample's loss, shape (samples,).

        Returns:
            the estimator itself.

        Raises:
            TypeError, ValueError: as `fit`; for labels that are not among `classes`; for a first call without it.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"NetClassifier.partial_fit: class_weight={self.class_weight!r} is of all samples, of which a part "
                f"does not tell; give a dict, such as sklearn.utils.class_weight.compute_class_weight's"
            )
        known = getattr(self, "classes_", None) if hasattr(self, "module_") else None
        if known is None and classes is None:
            raise ValueError("NetClassifier.partial_fit: the first call needs classes=, all labels that will come")
        if known is not None and classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(f"NetClassifier.partial_fit: classes={classes!r}, but it was {known} before")
        return self._go_on(X, y, sample_weight, classes)

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, in the order of `classes_`; shape (samples, classes)."""
        return np.asarray(ad.softmax(self._forward(X)))

    def predict_log_proba(self, X: Any) -> Array:
        """Their logarithms, finite where a probability is too small to be one; shape (samples, classes)."""
        return np.asarray(ad.log_softmax(self._forward(X)))

    def predict(self, X: Any) -> Array:
        """The most probable labels, shape (samples,)."""
        chosen = self._forward(X).argmax(axis=1)
        labels: Array = self.classes_[chosen]
        return labels


class NetRegressor(RegressorMixin, _Net):  # type: ignore[misc]  # scikit-learn comes without types
    """A regressor: a network with an output for each target, trained with the mean of the squared differences.

    Args:
        hidden, activation, optimizer, lr, weight_decay, batch_size, epochs, clip_norm, early_stopping,
        validation_fraction, patience, random_state, progress, callbacks, scheduler: as for `NetClassifier`.
        module: likewise, with an output for each column of the targets (one, if they have no columns).
        loss: likewise, a function of outputs and targets, both of shape (samples, n_outputs).

    Attributes:
        module_, optimizer_, history_, n_iter_, n_features_in_, feature_names_in_: as for `NetClassifier`.

    Targets far from unit scale are learned slowly: put it into
    ``sklearn.compose.TransformedTargetRegressor(..., transformer=StandardScaler())``.

    >>> from optim.sklearn import NetRegressor
    >>> X = np.linspace(-2, 2, 100)[:, None]
    >>> model = NetRegressor((32,), activation="tanh", lr=0.01, epochs=300, random_state=0).fit(X, np.sin(2 * X[:, 0]))
    >>> bool(model.score(X, np.sin(2 * X[:, 0])) > 0.98)
    True
    """

    def _learn_targets(self, y: Array) -> int:
        self._columns = y.ndim == 2
        return y.shape[1] if self._columns else 1

    def _targets(self, y: Array) -> Array:
        if y.ndim != 1 + self._columns or (self._columns and y.shape[1] != self._n_outputs):
            had = f"(samples, {self._n_outputs})" if self._columns else "(samples,)"
            raise ValueError(f"NetRegressor: y has shape {y.shape}, but it had shape {had} before")
        return y.reshape(len(y), self._n_outputs)

    def _losses(self, output: Any, target: Any) -> Any:
        difference = output - target
        return (difference * difference).mean(axis=1)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch, on from where the last call (or `fit`) ended.

        Args:
            X: samples, shape (samples, features).
            y: targets, shape (samples,) or (samples, outputs).
            sample_weight: weight of each sample's loss, shape (samples,).

        Returns:
            the estimator itself.

        Raises:
            TypeError, ValueError: as `fit`, and for targets of another shape than before.
        """
        return self._go_on(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The outputs, of the shape of the targets: (samples,) or (samples, outputs)."""
        output = self._forward(X)
        return output if self._columns else output[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
