"""optim: optimisers with PyTorch's names and numbers, in order of increasing complexity.

Reading order: optimizer and bucket (what all share), sgd, adaptive, adam, adam_family, signs, layerwise, lbfgs; then
data, history, early_stopping, checkpointing, and training, which puts them together; lr_finder, comparison and drawing;
sklearn (imported only by who uses it); learning_rules; last what uses curvature: second_order and conjugate_gradient
(what they share), newton, newton_cg, hessian_free, natural_gradient, and minimization, the bridge to SciPy.
"""

from autodiff.clipping import clip_grad_norm_, clip_grad_value_

from . import lr_scheduler, swa
from .adam import Adam
from .adam_family import Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .comparison import Comparison, compare
from .data import batches
from .early_stopping import EarlyStopping
from .hessian_free import HessianFree
from .history import History
from .layerwise import LAMB, LARS
from .lbfgs import LBFGS
from .learning_rules import LearningTrace, hebbian_learning, perceptron_learning
from .lr_finder import LearningRates, lr_find
from .minimization import minimize
from .natural_gradient import NaturalGradient
from .newton import Newton
from .newton_cg import NewtonCG
from .optimizer import Optimizer
from .sgd import SGD
from .signs import Lion, Rprop
from .training import fit

__all__ = [
    "LAMB", "LARS", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Comparison", "EarlyStopping",
    "HessianFree", "History", "LearningRates", "LearningTrace", "Lion", "NAdam", "NaturalGradient", "Newton",
    "NewtonCG", "Optimizer", "RAdam", "RMSprop", "Rprop", "batches", "clip_grad_norm_", "clip_grad_value_", "compare",
    "fit", "hebbian_learning", "lr_find", "lr_scheduler", "minimize", "perceptron_learning", "swa",
]  # fmt: skip
