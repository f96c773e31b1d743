"""optim: optimisers with PyTorch's names and numbers, in order of increasing complexity.

Reading order: optimizer and bucket (what all share), sgd, adaptive, adam, adam_family, signs, layerwise, lbfgs; then
data, history, early_stopping, checkpointing, and training, which puts them together; lr_finder, comparison and drawing;
sklearn (imported only by who uses it); learning_rules; last what uses curvature: second_order and conjugate_gradient
(what they share), newton, newton_cg, hessian_free, natural_gradient, and minimization, the bridge to SciPy.
"""

from autodiff.clipping import clip_grad_norm_, clip_grad_value_

from . import lr_scheduler, swa
from .data import batches
from .first_order.adam import Adam
from .first_order.adam_family import Adamax, AdamW, NAdam, RAdam
from .first_order.adaptive import Adadelta, Adagrad, RMSprop
from .first_order.layerwise import LAMB, LARS
from .first_order.sgd import SGD
from .first_order.signs import Lion, Rprop
from .optimizer import Optimizer
from .second_order.hessian_free import HessianFree
from .second_order.lbfgs import LBFGS
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

__all__ = [
    "LAMB", "LARS", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Comparison", "EarlyStopping",
    "HessianFree", "History", "LearningRates", "LearningTrace", "Lion", "NAdam", "NaturalGradient", "Newton",
    "NewtonCG", "Optimizer", "RAdam", "RMSprop", "Rprop", "batches", "clip_grad_norm_", "clip_grad_value_", "compare",
    "fit", "hebbian_learning", "lr_find", "lr_scheduler", "minimize", "perceptron_learning", "swa",
]  # fmt: skip
