"""optim: optimisers with PyTorch's names and numbers, and what trains with them.

First order:   SGD Adam AdamW Adamax NAdam RAdam RMSprop Adagrad Adadelta Lion Rprop LAMB LARS; Optimizer, for your own
Second order:  LBFGS Newton NewtonCG HessianFree NaturalGradient KFAC; minimize, least_squares of functions, as SciPy's
Training:      fit History EarlyStopping batches; lr_scheduler, swa and parallel; clip_grad_norm_ clip_grad_value_
Studies:       lr_find LearningRates compare Comparison perceptron_learning hebbian_learning LearningTrace; plot
Estimators:    optim.sklearn (needs scikit-learn)

Reading order: optimizer (what all optimisers share), and below it array, hyperparameters and bucket; first_order/, the
optimisers from the simplest on; second_order/, which uses curvature; lr_scheduler and swa; data, parallel and
training/, the loop around them; studies/ and plot/, the figures; last sklearn, which is imported only by who uses it.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from autodiff.clipping import clip_grad_norm_, clip_grad_value_

from . import data as data
from . import lr_scheduler, parallel, plot, swa
from .data import batches
from .first_order.adam import Adam
from .first_order.adam_family import Adamax, AdamW, NAdam, RAdam
from .first_order.adaptive import Adadelta, Adagrad, RMSprop
from .first_order.layerwise import LAMB, LARS
from .first_order.sgd import SGD
from .first_order.signs import Lion, Rprop
from .optimizer import Optimizer
from .second_order.hessian_free import HessianFree
from .second_order.kfac import KFAC
from .second_order.lbfgs import LBFGS
from .second_order.least_squares import least_squares
from .second_order.minimization import minimize
from .second_order.natural_gradient import NaturalGradient
from .second_order.newton import Newton
from .second_order.newton_cg import NewtonCG
from .studies.comparison import Comparison, compare
from .studies.learning_rules import LearningTrace, hebbian_learning, perceptron_learning
from .studies.lr_finder import LearningRates, lr_find
from .training.early_stopping import EarlyStopping
from .training.fit import fit
from .training.history import History

if _TYPE_CHECKING:
    from . import sklearn as sklearn

__all__ = [
    "KFAC", "LAMB", "LARS", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Comparison",
    "EarlyStopping", "HessianFree", "History", "LearningRates", "LearningTrace", "Lion", "NAdam", "NaturalGradient",
    "Newton", "NewtonCG", "Optimizer", "RAdam", "RMSprop", "Rprop", "batches", "clip_grad_norm_", "clip_grad_value_",
    "compare", "fit", "hebbian_learning", "least_squares", "lr_find", "lr_scheduler", "minimize", "parallel",
    "perceptron_learning", "plot", "swa",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "sklearn":  # needs scikit-learn, which nothing else here does
        return _import_module(".sklearn", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
