"""Hundreds of random expression graphs, evaluated here and by PyTorch in float64: values, first and second derivatives.

Hypothesis draws a program: leaves, then steps that each apply one operation of a family to values made before (a value
may be used again, so diamonds come by themselves). Every operation maps values of order one to values of order one,
and operations with a kink (relu, max, where on a sign, sort) are drawn only where the values keep clear of it, so both
engines are differentiated at a point where the derivatives exist and rounding stays small. (Left out: gammaln and
digamma, whose derivative, the trigamma function, is good to 5e-10 only in PyTorch.)
"""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff import Tensor

torch = pytest.importorskip("torch")

CLEAR = 1e-4  # how far from a kink the values must be


@dataclass
class Op:
    """One operation in both engines; `draw(random, values)` gives operands and options, None if none fit."""

    ours: object
    theirs: object
    draw: object


@dataclass
class Step:
    name: str
    operands: tuple
    options: dict = field(default_factory=dict)


OPS: dict[str, dict[str, Op]] = {}


def op(family, name, ours, theirs, draw):
    OPS.setdefault(family, {})[name] = Op(ours, theirs, draw)


# How operands and options are drawn


def pick(rnd, values):
    """A value's index, rather a late one than an early one."""
    return len(values) - 1 - min(rnd.randint(0, len(values) - 1), rnd.randint(0, len(values) - 1))


def coin(rnd):
    return rnd.random() < 0.5


def one(condition=lambda a: True, options=lambda rnd, a: {}):
    def choose(rnd, values):
        i = pick(rnd, values)
        return ((i,), options(rnd, values[i])) if condition(values[i]) else None

    return choose


def broadcastable(a, b):
    return all(n == m or n == 1 or m == 1 for n, m in zip(a.shape[::-1], b.shape[::-1]))


def pair(condition=broadcastable, options=lambda rnd, a, b: {}):
    def choose(rnd, values):
        i = pick(rnd, values)
        fitting = [j for j, b in enumerate(values) if condition(values[i], b)]
        if not fitting:
            return None
        j = rnd.choice(fitting)
        return (i, j), options(rnd, values[i], values[j])

    return choose


def off_zero(a):
    return bool((a.abs() > CLEAR).all())


def apart(a, b):
    return broadcastable(a, b) and bool(((a - b).abs() > CLEAR).all())


def spread_along(a, dim):
    s = a.sort(dim=dim).values
    return a.shape[dim] < 2 or bool((s.diff(dim=dim) > CLEAR).all())


def has_axis(a):
    return a.ndim > 0


def axis_of(rnd, a):
    return {"axis": rnd.randint(-a.ndim, a.ndim - 1)}


def axes_of(rnd, a):
    """Any set of axes, None for all, with keepdims or not."""
    axes = rnd.sample(range(a.ndim), rnd.randint(0, a.ndim))
    signed = tuple(i - a.ndim if coin(rnd) else i for i in axes)
    return {"axis": signed or None, "keepdims": coin(rnd)}


def dims(a, axis):
    return tuple(range(a.ndim)) if axis is None else axis


# Elementwise

for name, ours, theirs in [
    ("sin", np.sin, torch.sin),
    ("cos", np.cos, torch.cos),
    ("tanh", np.tanh, torch.tanh),
    ("arctan", np.arctan, torch.arctan),
    ("sigmoid", ad.sigmoid, torch.sigmoid),
    ("softplus", ad.softplus, torch.nn.functional.softplus),
    ("erf", lambda a: ad.special.erf(a), torch.special.erf),
    ("gauss", lambda a: np.exp(-a * a), lambda a: torch.exp(-a * a)),
    ("log", lambda a: np.log(1.5 + a * a), lambda a: torch.log(1.5 + a * a)),
    ("log1p", lambda a: np.log1p(a**2), lambda a: torch.log1p(a**2)),
    ("sqrt", lambda a: np.sqrt(0.5 + np.square(a)), lambda a: torch.sqrt(0.5 + torch.square(a))),
    ("reciprocal", lambda a: np.reciprocal(1 + a**4), lambda a: torch.reciprocal(1 + a**4)),
    ("expm1", lambda a: np.expm1(0.5 * np.sin(a)), lambda a: torch.expm1(0.5 * torch.sin(a))),
    ("power", lambda a: (1.2 + a**2) ** 0.7 / 2, lambda a: (1.2 + a**2) ** 0.7 / 2),
    ("exponent", lambda a: 1.3 ** np.sin(a), lambda a: 1.3 ** torch.sin(a)),
    ("arcsinh", np.arcsinh, torch.arcsinh),
    ("sinh", lambda a: np.sinh(np.tanh(a)), lambda a: torch.sinh(torch.tanh(a))),
    ("cosh", lambda a: np.cosh(np.cos(a)), lambda a: torch.cosh(torch.cos(a))),
    ("arcsin", lambda a: np.arcsin(0.7 * np.sin(a)), lambda a: torch.arcsin(0.7 * torch.sin(a))),
    ("arctanh", lambda a: np.arctanh(0.6 * np.cos(a)), lambda a: torch.arctanh(0.6 * torch.cos(a))),
    ("tan", lambda a: np.tan(0.6 * np.sin(a)), lambda a: torch.tan(0.6 * torch.sin(a))),
    ("arccos", lambda a: np.arccos(0.7 * np.sin(a)) / 2, lambda a: torch.arccos(0.7 * torch.sin(a)) / 2),
    ("arccosh", lambda a: np.arccosh(2 + a * a) / 2, lambda a: torch.arccosh(2 + a * a) / 2),
    ("exp2", lambda a: np.exp2(np.sin(a)) / 2, lambda a: torch.exp2(torch.sin(a)) / 2),
    ("log2", lambda a: np.log2(1.5 + a * a) / 2, lambda a: torch.log2(1.5 + a * a) / 2),
    ("log10", lambda a: np.log10(1.5 + a * a), lambda a: torch.log10(1.5 + a * a)),
    ("erfc", lambda a: ad.special.erfc(a) / 2, lambda a: torch.special.erfc(a) / 2),
    ("negative", lambda a: 0.5 - a, lambda a: 0.5 - a),
    ("logit-free mix", lambda a: 2.0 / (2 + a * a) - a / 3, lambda a: 2.0 / (2 + a * a) - a / 3),
]:
    op("elementwise", name, ours, theirs, one())

for name, ours, theirs in [
    ("absolute", np.abs, torch.abs),
    ("relu", ad.relu, torch.relu),
    ("sign", lambda a: np.sign(a) * a, lambda a: torch.sign(a) * a),
    ("cbrt", np.cbrt, lambda a: torch.sign(a) * torch.abs(a) ** (1 / 3)),
]:
    # the cube root's derivatives grow towards 0: keep clear by more
    op("kinks", name, ours, theirs, one(off_zero if name != "cbrt" else lambda a: bool((a.abs() > 0.1).all())))
op("kinks", "clip", lambda a: np.clip(a, -0.5, 0.7), lambda a: torch.clip(a, -0.5, 0.7),
   one(lambda a: off_zero(a + 0.5) and off_zero(a - 0.7)))  # fmt: skip
# smooth at 0 too, but there PyTorch's second derivatives are wrong (NaN for sinc, 0 for the mixed one of a power)
op("kinks", "sinc", np.sinc, torch.sinc, one(off_zero))
op("kinks", "power of two", lambda a, b: (1.5 + a * a) ** np.tanh(b) / 2,
   lambda a, b: (1.5 + a * a) ** torch.tanh(b) / 2, pair(lambda a, b: broadcastable(a, b) and off_zero(b)))  # fmt: skip
op("kinks", "maximum", np.maximum, torch.maximum, pair(apart))
op("kinks", "minimum", np.minimum, torch.minimum, pair(apart))
op("kinks", "fmax", np.fmax, torch.fmax, pair(apart))
op("kinks", "fmin", np.fmin, torch.fmin, pair(apart))
op("kinks", "mod", lambda a: np.mod(a, 0.7), lambda a: torch.remainder(a, 0.7),
   one(lambda a: bool(((a / 0.7 - torch.round(a / 0.7)).abs() > CLEAR).all())))  # fmt: skip
op("kinks", "where", lambda a, b: np.where(a > 0, a * b, b), lambda a, b: torch.where(a > 0, a * b, b),
   pair(lambda a, b: broadcastable(a, b) and off_zero(a)))  # fmt: skip
op("kinks", "guarded log", lambda a: np.where(a > 0, np.log(np.where(a > 0, a, 1.0)) / 8, a),
   lambda a: torch.where(a > 0, torch.log(torch.where(a > 0, a, 1.0)) / 8, a),
   one(lambda a: bool((a.abs() > 0.1).all())))  # fmt: skip

# Two operands, broadcast

for name, ours, theirs in [
    ("add", lambda a, b: (a + b) / 2, lambda a, b: (a + b) / 2),
    ("subtract", lambda a, b: (a - b) * 0.5, lambda a, b: (a - b) * 0.5),
    ("multiply", lambda a, b: a * b / 2, lambda a, b: a * b / 2),
    ("divide", lambda a, b: a / (1.5 + b * b), lambda a, b: a / (1.5 + b * b)),
    ("hypot", lambda a, b: np.hypot(a, 1 + b * b) / 2, lambda a, b: torch.hypot(a, 1 + b * b) / 2),
    ("arctan2", lambda a, b: np.arctan2(a, 1 + b * b), lambda a, b: torch.arctan2(a, 1 + b * b)),
    ("logaddexp", lambda a, b: np.logaddexp(a, b) / 2, lambda a, b: torch.logaddexp(a, b) / 2),
]:
    op("broadcasting", name, ours, theirs, pair())
op("broadcasting", "broadcast_to", lambda a, shape: np.broadcast_to(a, shape), lambda a, shape: a.broadcast_to(shape),
   one(lambda a: a.numel() <= 12, lambda rnd, a: {"shape": (rnd.randint(1, 3), *a.shape)}))  # fmt: skip
op("broadcasting", "outer by axes", lambda a: a[..., None] * a[..., None, :] / 2,
   lambda a: a[..., None] * a[..., None, :] / 2, one(lambda a: 0 < a.ndim < 4 and a.numel() <= 24))  # fmt: skip

# Reductions

for name, ours, theirs in [
    ("sum", lambda a, axis, keepdims: np.sum(a, axis, keepdims=keepdims) / 4,
     lambda a, axis, keepdims: torch.sum(a, dims(a, axis), keepdims) / 4),
    ("mean", lambda a, axis, keepdims: a.mean(axis, keepdims=keepdims),
     lambda a, axis, keepdims: torch.mean(a, dims(a, axis), keepdims)),
    ("var", lambda a, axis, keepdims: np.var(a, axis=axis, keepdims=keepdims),
     lambda a, axis, keepdims: torch.var(a, dims(a, axis), correction=0, keepdim=keepdims)),
    ("logsumexp", lambda a, axis, keepdims: ad.logsumexp(a, axis, keepdims=keepdims) / 2,
     lambda a, axis, keepdims: torch.logsumexp(a, dims(a, axis), keepdims) / 2),
    ("norm", lambda a, axis, keepdims: np.sqrt((1 + a * a).sum(axis, keepdims=keepdims)) / 2,
     lambda a, axis, keepdims: torch.sqrt((1 + a * a).sum(dims(a, axis), keepdims)) / 2),
]:  # fmt: skip
    op("reductions", name, ours, theirs, one(has_axis, axes_of))
op("reductions", "std", lambda a, axis: np.std(a, axis=axis, ddof=1), lambda a, axis: torch.std(a, axis, correction=1),
   one(lambda a: a.ndim > 0 and min(a.shape) > 1 and all((a.std(d) > 0.2).all() for d in range(a.ndim)),
       axis_of))  # fmt: skip
for name in ("max", "min"):
    op("reductions", name, lambda a, axis, f=getattr(np, name): f(a, axis=axis),
       lambda a, axis, f=getattr(torch, "a" + name): f(a, axis),
       one(lambda a: has_axis(a) and all(spread_along(a, d) for d in range(a.ndim)), axis_of))  # fmt: skip
op("reductions", "prod", lambda a, axis: np.prod(np.cos(a), axis=axis), lambda a, axis: torch.prod(torch.cos(a), axis),
   one(has_axis, axis_of))  # fmt: skip
op("reductions", "cumsum", lambda a, axis: np.cumsum(a, axis=axis) / 3, lambda a, axis: torch.cumsum(a, axis) / 3,
   one(has_axis, axis_of))  # fmt: skip
op("reductions", "cumprod", lambda a, axis: np.cumprod(np.sin(a), axis=axis),
   lambda a, axis: torch.cumprod(torch.sin(a), axis), one(has_axis, axis_of))  # fmt: skip
op("reductions", "softmax", lambda a, axis: ad.softmax(a, axis=axis), lambda a, axis: torch.softmax(a, axis),
   one(has_axis, axis_of))  # fmt: skip
op("reductions", "log_softmax", lambda a, axis: ad.log_softmax(a, axis=axis) / 3,
   lambda a, axis: torch.log_softmax(a, axis) / 3, one(has_axis, axis_of))  # fmt: skip

# Products


def matmul_fits(a, b):
    if not a.ndim or not b.ndim or a.shape[-1] != (b.shape[-2] if b.ndim > 1 else b.shape[0]):
        return False
    return all(n == m or n == 1 or m == 1 for n, m in zip(a.shape[-3::-1], b.shape[-3::-1])) or min(a.ndim, b.ndim) < 2


def eye(n):
    return torch.eye(n, dtype=torch.float64)


op("products", "matmul", lambda a, b: a @ b / 3, lambda a, b: a @ b / 3, pair(matmul_fits))
op("products", "gram", lambda a: np.matmul(a, a.swapaxes(-1, -2)) / 3, lambda a: torch.matmul(a, a.mT) / 3,
   one(lambda a: a.ndim >= 2))  # fmt: skip
op("products", "dot", lambda a, b: np.dot(a, b) / 3, lambda a, b: torch.matmul(a, b) / 3,
   pair(lambda a, b: a.ndim == b.ndim == 1 and a.shape == b.shape))  # fmt: skip
op("products", "outer", lambda a, b: np.outer(a, b) / 2, lambda a, b: torch.outer(a.ravel(), b.ravel()) / 2,
   pair(lambda a, b: a.numel() * b.numel() <= 36))  # fmt: skip
op("products", "einsum", lambda a, b: np.einsum("...i,...i->...", a, b) / 2,
   lambda a, b: torch.einsum("...i,...i->...", a, b) / 2, pair(lambda a, b: a.ndim and a.shape == b.shape))  # fmt: skip
op("products", "einsum of a matrix", lambda a: np.einsum("ij,kj,ik->", a, a, a @ a.T) / 50,
   lambda a: torch.einsum("ij,kj,ik->", a, a, a @ a.T) / 50, one(lambda a: a.ndim == 2))  # fmt: skip
op("products", "tensordot", lambda a, b: np.tensordot(a, b, axes=([0], [0])) / 3,
   lambda a, b: torch.tensordot(a, b, dims=([0], [0])) / 3,
   pair(lambda a, b: a.ndim and b.ndim and a.shape[0] == b.shape[0] and a.numel() * b.numel() <= 150))  # fmt: skip
op("products", "inverse", lambda a: np.linalg.inv(a @ a.T + 2 * np.eye(a.shape[0])),
   lambda a: torch.linalg.inv(a @ a.T + 2 * eye(a.shape[0])), one(lambda a: a.ndim == 2))  # fmt: skip
op("products", "solve", lambda a: np.linalg.solve(a.T @ a + 2 * np.eye(a.shape[1]), a.T),
   lambda a: torch.linalg.solve(a.T @ a + 2 * eye(a.shape[1]), a.T), one(lambda a: a.ndim == 2))  # fmt: skip
op("products", "slogdet", lambda a: np.linalg.slogdet(a @ a.T + np.eye(a.shape[0]))[1] / 4,
   lambda a: torch.linalg.slogdet(a @ a.T + eye(a.shape[0]))[1] / 4, one(lambda a: a.ndim == 2))  # fmt: skip

op("products", "det", lambda a: np.linalg.det(a @ a.T / 4 + np.eye(a.shape[0])) / 4,
   lambda a: torch.linalg.det(a @ a.T / 4 + eye(a.shape[0])) / 4, one(lambda a: a.ndim == 2 and a.shape[0] <= 3))  # fmt: skip
op("products", "cholesky", lambda a: np.linalg.cholesky(a @ a.T / 4 + np.eye(a.shape[0])),
   lambda a: torch.linalg.cholesky(a @ a.T / 4 + eye(a.shape[0])), one(lambda a: a.ndim == 2))  # fmt: skip
op("products", "vector norm", lambda a: np.linalg.norm(a, axis=-1) / 2, lambda a: torch.linalg.norm(a, dim=-1) / 2,
   one(lambda a: has_axis(a) and bool((a.abs().amax(-1) > 0.2).all())))  # fmt: skip

# Indexing


def draw_slice(rnd, n):
    start, stop = rnd.randint(-n, n - 1), rnd.choice([None, rnd.randint(-n, n)])
    s = slice(start, stop, rnd.choice([None, 1, 2]))
    return s if len(range(n)[s]) else slice(None)


def basic_index(rnd, a):
    index = [draw_slice(rnd, n) if coin(rnd) else rnd.randint(-n, n - 1) for n in a.shape]
    index = index[: rnd.randint(0, len(index))]
    if coin(rnd):
        index.append(Ellipsis)
    if coin(rnd):
        index.insert(rnd.randint(0, len(index)), None)
    return {"index": tuple(index)}


def array_index(rnd, a):
    integers = [rnd.randint(-a.shape[0], a.shape[0] - 1) for _ in range(rnd.randint(1, 4))]
    index = (np.array(integers),)
    if a.ndim > 1 and coin(rnd):
        other = rnd.randint(0, a.shape[1] - 1)
        index += (np.full(len(integers), other),)
    return {"index": index}


def along_axis(rnd, a):
    axis = rnd.randrange(a.ndim)
    return {"axis": axis, "indices": [rnd.randrange(a.shape[axis]) for _ in range(rnd.randint(1, 3))]}


def in_torch(index):
    return tuple(torch.as_tensor(i) if isinstance(i, np.ndarray) else i for i in index)


for name, options in [("getitem", basic_index), ("getitem by arrays", array_index)]:
    op("indexing", name, lambda a, index: a[index], lambda a, index: a[in_torch(index)], one(has_axis, options))
op("indexing", "mask", lambda a: a[a > 0], lambda a: a[a > 0], one(lambda a: off_zero(a) and bool((a > 0).any())))
op("indexing", "take", lambda a, indices, axis: np.take(a, indices, axis=axis),
   lambda a, indices, axis: torch.index_select(a, axis, torch.as_tensor(indices)),
   one(has_axis, along_axis))  # fmt: skip
op("indexing", "set", lambda a, b: a.at[0].set(b), lambda a, b: torch.cat([b.expand(a[:1].shape), a[1:]]),
   pair(lambda a, b: a.ndim > 0 and a.shape[1:] == b.shape))  # fmt: skip
op("indexing", "add at", lambda a: a.at[[0, 0, -1]].add(a[:1]) / 2,
   lambda a: a.index_add(0, torch.tensor([0, 0, a.shape[0] - 1]), a[:1].expand(3, *a.shape[1:])) / 2,
   one(has_axis))  # fmt: skip
op("indexing", "sort", lambda a, axis: np.sort(a, axis=axis), lambda a, axis: torch.sort(a, dim=axis).values,
   one(lambda a: has_axis(a) and all(spread_along(a, d) for d in range(a.ndim)), axis_of))  # fmt: skip
op("indexing", "diagonal", lambda a: np.diagonal(a, axis1=-2, axis2=-1), lambda a: a.diagonal(dim1=-2, dim2=-1),
   one(lambda a: a.ndim >= 2))  # fmt: skip
op("indexing", "tril", lambda a: np.tril(a) - np.triu(a, 1), lambda a: torch.tril(a) - torch.triu(a, 1),
   one(lambda a: a.ndim >= 2))  # fmt: skip

# Shape

op("shape", "reshape", lambda a, shape: a.reshape(shape), lambda a, shape: a.reshape(shape),
   one(lambda a: True, lambda rnd, a: {"shape": rnd.choice([(-1,), (a.numel(), 1), (1, a.numel())] + [
       (k, a.numel() // k) for k in (2, 3) if a.numel() % k == 0])}))  # fmt: skip
op("shape", "transpose", lambda a, axes: np.transpose(a, axes), lambda a, axes: a.permute(axes),
   one(has_axis, lambda rnd, a: {"axes": tuple(rnd.sample(range(a.ndim), a.ndim))}))  # fmt: skip
op("shape", "T", lambda a: a.T, lambda a: a.permute(*range(a.ndim)[::-1]), one(has_axis))
op("shape", "expand_dims", lambda a, axis: np.expand_dims(a, axis), lambda a, axis: a.unsqueeze(axis),
   one(lambda a: a.ndim < 4, lambda rnd, a: {"axis": rnd.randint(-a.ndim - 1, a.ndim)}))  # fmt: skip
op("shape", "squeeze", np.squeeze, torch.squeeze, one())
op("shape", "moveaxis", lambda a: np.moveaxis(a, 0, -1), lambda a: torch.moveaxis(a, 0, -1), one(has_axis))
op("shape", "concatenate", lambda a, b: np.concatenate([a, b, a], axis=-1), lambda a, b: torch.cat([a, b, a], dim=-1),
   pair(lambda a, b: a.ndim and a.ndim == b.ndim and a.shape[:-1] == b.shape[:-1] and a.numel() <= 24))  # fmt: skip
op("shape", "stack", lambda a, b, axis: np.stack([a, b], axis=axis), lambda a, b, axis: torch.stack([a, b], dim=axis),
   pair(lambda a, b: a.shape == b.shape and a.ndim < 4 and a.numel() <= 24,
        lambda rnd, a, b: {"axis": rnd.randint(-a.ndim - 1, a.ndim)}))  # fmt: skip
op("shape", "flip", lambda a, axis: np.flip(a, axis), lambda a, axis: torch.flip(a, (axis,)), one(has_axis, axis_of))
op("shape", "roll", lambda a, axis: np.roll(a, 2, axis), lambda a, axis: torch.roll(a, 2, axis), one(has_axis, axis_of))
op("shape", "tile", lambda a: np.tile(a, (2, 1)), lambda a: torch.tile(a, (2, 1)), one(lambda a: a.numel() <= 12))
op("shape", "repeat", lambda a, axis: np.repeat(a, 2, axis), lambda a, axis: torch.repeat_interleave(a, 2, axis),
   one(lambda a: a.ndim > 0 and a.numel() <= 12, axis_of))  # fmt: skip
op("shape", "pad", lambda a: np.pad(a, 1), lambda a: torch.nn.functional.pad(a, (1, 1) * a.ndim),
   one(lambda a: a.ndim > 0 and a.numel() <= 9))  # fmt: skip
op("shape", "split", lambda a: np.split(a, [1])[0] + np.split(a, [1])[0] * 0.5, lambda a: a[:1] + a[:1] * 0.5,
   one(lambda a: a.ndim > 0 and a.shape[0] > 1))  # fmt: skip

ALL = {name: operation for family in OPS.values() for name, operation in family.items()}


# Programs


@dataclass
class Program:
    leaves: list
    steps: list
    seed: int

    def run(self, leaves, side):
        values = list(leaves)
        for step in self.steps:
            values.append(getattr(ALL[step.name], side)(*(values[i] for i in step.operands), **step.options))
        return values

    def loss(self, leaves, side):
        """Every value is in the loss, each with its own weights, so that no step is without effect."""
        rng = np.random.default_rng(self.seed)
        total = 0.0
        for value in self.run(leaves, side):
            weights = rng.standard_normal(tuple(value.shape)) / max(1, int(np.prod(value.shape)))
            weights = weights if side == "ours" else torch.as_tensor(weights)
            total = total + (value * weights).sum()
        return total


SHAPES = [(), (1,), (3,), (2, 3), (3, 3), (1, 3), (2, 1), (3, 2), (2, 3, 2), (2, 1, 3), (4,)]


def draw_program(families, length, seed):
    """The program of this seed; a shorter one of the same seed is its beginning, which is how Hypothesis shrinks."""
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    leaves = [rng.uniform(-1.8, 1.8, rnd.choice(SHAPES)) for _ in range(rnd.randint(1, 3))]
    values = [torch.as_tensor(leaf) for leaf in leaves]
    program = Program(leaves, [], seed)
    for _ in range(length):
        for _ in range(20):
            name = rnd.choice(list(OPS[rnd.choice(families)]))
            chosen = ALL[name].draw(rnd, values)
            if chosen is None:  # it fits none of the values
                continue
            step = Step(name, *chosen)
            value = ALL[name].theirs(*(values[i] for i in step.operands), **step.options)
            if 0 < value.numel() <= 200 and value.ndim <= 5:
                values.append(value)
                program.steps.append(step)
                break
    return program


def programs(families, shortest, longest):
    draw = lambda length, seed: draw_program(families, length, seed)
    return st.builds(draw, st.integers(shortest, longest), st.integers(0, 2**32 - 1))


def close(ours, theirs, what):
    """Within 1e-9 of PyTorch's array, relative to its largest entry (sums of terms of order one round at 1e-16)."""
    theirs = theirs.numpy(force=True)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, what
    scale = np.abs(theirs).max(initial=0.0)
    assert np.isfinite(scale), what
    np.testing.assert_allclose(ours.data, theirs, rtol=1e-9, atol=1e-9 * scale + 1e-12, err_msg=what)


def check(program):
    note(f"{program}")
    ours = [Tensor(leaf, requires_grad=True) for leaf in program.leaves]
    theirs = [torch.tensor(leaf, requires_grad=True) for leaf in program.leaves]
    for step, a, b in zip([None] * len(ours) + program.steps, program.run(ours, "ours"), program.run(theirs, "theirs")):
        close(a, b, f"value of {step}")

    y, z = program.loss(ours, "ours"), program.loss(theirs, "theirs")
    recorded = ad.gradients(y, ours, create_graph=True)
    expected = torch.autograd.grad(z, theirs, create_graph=True)
    y.backward()
    for x, g, e in zip(ours, recorded, expected):
        close(x.grad, e, "gradient by backward()")
        close(g, e, "gradient with create_graph")

    rng = np.random.default_rng(program.seed + 1)
    v = [rng.standard_normal(leaf.shape) for leaf in program.leaves]
    slope = sum((g * d).sum() for g, d in zip(recorded, v))
    torch_slope = sum((g * torch.as_tensor(d)).sum() for g, d in zip(expected, v))
    hvp = ad.gradients(slope, ours, allow_unused=True)
    torch_hvp = torch.autograd.grad(torch_slope, theirs, allow_unused=True, materialize_grads=True) if (
        torch_slope.requires_grad) else [torch.zeros_like(x) for x in theirs]  # fmt: skip
    for x, h, e in zip(ours, hvp, torch_hvp):
        close(Tensor(np.zeros(x.shape)) if h is None else h, e, "Hessian-vector product")


FAMILIES = {
    "elementwise": ["elementwise"],
    "broadcasting": ["broadcasting", "elementwise"],
    "kinks": ["kinks", "broadcasting"],
    "reductions": ["reductions", "broadcasting"],
    "products": ["products", "broadcasting"],
    "indexing": ["indexing", "broadcasting"],
    "shape": ["shape", "broadcasting"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_values_gradients_and_hessian_vector_products_agree_with_torch_in_every_family(family):
    @settings(max_examples=80)
    @given(programs(FAMILIES[family], 1, 7))
    def agree(program):
        check(program)

    agree()


@settings(max_examples=500)
@given(programs(list(OPS), 4, 14))
def test_values_gradients_and_hessian_vector_products_of_mixed_graphs_agree_with_torch(program):
    check(program)


@pytest.mark.slow
@settings(max_examples=1500)
@given(programs(list(OPS), 15, 30))
def test_large_mixed_graphs_agree_with_torch(program):
    check(program)
