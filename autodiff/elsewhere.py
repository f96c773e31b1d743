"""What other libraries have, as it is written here: attributes of tensors and arrays, names of packages, and words of
arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

ATTRIBUTES = {
    "view": "t.reshape(shape)",
    "view_as": "t.reshape(u.shape)",
    "reshape_as": "t.reshape(u.shape)",
    "unsqueeze": "np.expand_dims(t, axis) or t[:, None]",
    "permute": "t.transpose(axes)",
    "t": "t.T",
    "numel": "t.size",
    "dim": "t.ndim",
    "masked_fill": "np.where(mask, value, t)",
    "masked_select": "t[mask]",
    "index_select": "t.take(index, axis)",
    "gather": "np.take_along_axis(t, index, axis)",
    "scatter": "t.at[index].set(v)",
    "scatter_add": "t.at[index].add(v)",
    "expand": "np.broadcast_to(t, shape)",
    "expand_as": "np.broadcast_to(t, u.shape)",
    "repeat_interleave": "t.repeat(n, axis)",
    "tile": "np.tile(t, n)",
    "clamp": "t.clip(low, high)",
    "clamp_min": "np.maximum(t, low)",
    "clamp_max": "np.minimum(t, high)",
    "amax": "t.max(axis)",
    "amin": "t.min(axis)",
    "values": "t itself, of which max(axis) and min(axis) return the values alone",
    "indices": "t.argmax(axis) or t.argmin(axis) in place of max and min, np.argsort(t) of sort",
    "norm": "np.linalg.norm(t)",
    "mm": "t @ u",
    "bmm": "t @ u",
    "mv": "t @ u",
    "matmul": "t @ u",
    "add": "t + u",
    "sub": "t - u",
    "mul": "t * u",
    "div": "t / u",
    "pow": "t ** p",
    "neg": "-t",
    "outer": "np.outer(t, u)",
    "quantile": "np.quantile(t, q, axis)",
    "roll": "np.roll(t, shift, axis)",
    "rsqrt": "1 / np.sqrt(t)",
    "lerp": "t + w * (u - t)",
    "addmm": "t + u @ v",
    "baddbmm": "t + u @ v",
    "eq": "t == u",
    "ne": "t != u",
    "lt": "t < u",
    "le": "t <= u",
    "gt": "t > u",
    "ge": "t >= u",
    "add_": "t += u (inside ad.no_grad() on a leaf)",
    "sub_": "t -= u (inside ad.no_grad() on a leaf)",
    "mul_": "t *= u (inside ad.no_grad() on a leaf)",
    "copy_": "t[...] = u (inside ad.no_grad() on a leaf)",
    "fill_": "t[...] = v (inside ad.no_grad() on a leaf)",
    "clamp_": "t[...] = t.clip(low, high) (inside ad.no_grad() on a leaf)",
    "normal_": "t[...] = rng.normal(mean, std, t.shape) (inside ad.no_grad() on a leaf), or nn.init.normal_(t)",
    "uniform_": "t[...] = rng.uniform(low, high, t.shape) (inside ad.no_grad() on a leaf), or nn.init.uniform_(t)",
    "zero_": "t[...] = 0 (inside ad.no_grad() on a leaf)",
    "detach_": "t.detach()",
    "requires_grad_": "t.requires_grad = True",
    "clone": "t.copy()",
    "contiguous": "t itself",
    "float": "t.astype('float32')",
    "double": "t.astype('float64')",
    "long": "t.astype('int64')",
    "int": "t.astype('int32')",
    "bool": "t.astype(bool)",
    "type": "t.astype(dtype)",
    "exp": "np.exp(t)",
    "log": "np.log(t)",
    "sqrt": "np.sqrt(t)",
    "sin": "np.sin(t)",
    "cos": "np.cos(t)",
    "tanh": "np.tanh(t)",
    "abs": "abs(t)",
    "sigmoid": "ad.sigmoid(t)",
    "relu": "ad.relu(t)",
    "softmax": "ad.softmax(t, axis)",
    "logsumexp": "ad.logsumexp(t, axis)",
    "split": "np.split(t, n)",
    "chunk": "np.array_split(t, n)",
    "unbind": "np.unstack(t) or list(t)",
    "stack": "np.stack(tensors)",
    "cat": "np.concatenate(tensors)",
    "sort": "np.sort(t)",
    "topk": "np.sort(t)[..., -k:]",
    "unfold": "ad.sliding_window_view(t, size, axis)",
    "narrow": "t[start : start + length]",
    "select": "t.take(index, axis)",
    "movedim": "np.moveaxis(t, source, destination)",
    "index_add": "t.at[index].add(v)",
    "unflatten": "t.reshape(shape)",
    "type_as": "t.to(u)",
    "inverse": "ad.linalg.inv(t)",
    "log_softmax": "ad.log_softmax(t, axis)",
    "erf": "ad.special.erf(t)",
    "lgamma": "ad.special.gammaln(t)",
    "new_zeros": "np.zeros_like(t)",
    "new_ones": "np.ones_like(t)",
    "new_full": "np.full_like(t, v)",
    "new_tensor": "ad.Tensor(a)",
    "is_cuda": "t.data.device",
    "data_ptr": "t.data.ctypes.data",
    "is_contiguous": "t.data.flags.c_contiguous",
    "fill": "t[...] = v (inside ad.no_grad() on a leaf)",
    "put": "t = t.at[i].set(v)",
    "resize": "t.reshape(shape)",
    "partition": "np.partition(t, k)",
    "compress": "t[mask]",
    "choose": "np.choose(t, choices)",
    "searchsorted": "np.searchsorted(t, v)",
    "ptp": "np.ptp(t)",
    "flat": "t.ravel()",
    "flags": "t.data.flags",
    "strides": "t.data.strides",
    "base": "t.data.base",
    "ctypes": "t.data.ctypes",
    "tobytes": "t.data.tobytes()",
    "tofile": "t.data.tofile(file)",
    "dump": "ad.save({'t': t}, file)",
    "byteswap": "t.data.byteswap()",
    "setflags": "t.data.setflags()",
    "numerator": "np.mean(t), np.std(t) or np.var(t) in place of Python's statistics",
    "device": "t.data.device",
    "__dlpack__": "t.numpy()",
}
"""Attributes of PyTorch's tensors, of arrays and of numbers that a Tensor has not: NumPy's spelling of them."""

ATTRIBUTES |= {
    name: f"np.{name}(t)"
    for name in (
        "arctan ceil cosh diag diff expm1 floor isfinite isinf isnan log10 log1p log2 median nansum reciprocal "
        "sign sinh square tan tril triu unique"
    ).split()
}

NAMES = {
    # JAX
    "jit": "ad.compile(f)",
    "jacfwd": "ad.jacobian(f)",
    "jacrev": "ad.jacobian(f)",
    "linearize": "ad.jvp(f, x, tangent)",
    "pmap": "ad.vmap(f)",
    "lax": "ad.scan, ad.cond or ad.while_loop",
    "fori_loop": "ad.scan(lambda c, i: (f(i, c), None), c, np.arange(n))[0]",
    "remat": "ad.checkpoint(f, x)",
    "custom_vjp": "ad.primitive(f, name='f', vjps=[lambda g, y, x: …])",
    "custom_jvp": "ad.primitive(f, name='f', vjps=[lambda g, y, x: …])",
    "make_jaxpr": "ad.compile(f), which has .source, or ad.explain(y)",
    "numpy": "np, NumPy itself, whose functions take Tensors",
    "scipy": "ad.special, ad.linalg, ad.signal, ad.fft, ad.ndimage or ad.stats",
    "PRNGKey": "np.random.default_rng(seed), a generator that functions take as rng=",
    # HIPS autograd
    "make_vjp": "ad.vjp(f, x)",
    "make_jvp": "ad.jvp(f, x, tangent)",
    "make_hvp": "ad.hvp(f, x, tangent)",
    "hessian_vector_product": "ad.hvp(f, x, tangent)",
    "hessian_tensor_product": "ad.hvp(f, x, tangent)",
    "make_ggnvp": "ad.gauss_newton_vp(model, loss, x, tangent)",
    "ggnvp": "ad.gauss_newton_vp(model, loss, x, tangent)",
    "multigrad": "ad.grad(f, argnums=(0, 1))",
    "holomorphic_grad": "ad.grad(f, holomorphic=True)",
    "extend": "ad.primitive(f, name='f', vjps=[lambda g, y, x: …])",
    "defvjp": "ad.primitive(f, name='f', vjps=[lambda g, y, x: …])",
    "test_util": "ad.gradcheck(f, x)",
    "check_grads": "ad.gradcheck(f, x)",
    # PyTorch
    "autograd": "ad.gradients(y, x), or ad.grad, ad.jacobian, ad.hessian and ad.hvp of a function",
    "func": "ad.grad, ad.jacobian, ad.hessian, ad.vjp, ad.jvp or ad.vmap",
    "functional": "ad.grad, ad.jacobian, ad.hessian, ad.vjp, ad.jvp or ad.vmap",
    "from_numpy": "ad.Tensor(a)",
    "as_tensor": "ad.Tensor(a)",
    "Variable": "ad.Tensor(a, requires_grad=True)",
    "Parameter": "ad.Tensor(a, requires_grad=True), or nn.Parameter(a) in a module",
    "is_tensor": "isinstance(t, ad.Tensor)",
    "inference_mode": "ad.no_grad()",
    "set_grad_enabled": "ad.no_grad() or ad.enable_grad()",
    "manual_seed": "ad.random.manual_seed(seed)",
    "rand": "ad.Tensor(rng.random(shape)), with rng = np.random.default_rng(seed)",
    "randn": "ad.Tensor(rng.normal(size=shape)), with rng = np.random.default_rng(seed)",
    "rand_like": "ad.Tensor(rng.random(t.shape)), with rng = np.random.default_rng(seed)",
    "randn_like": "ad.Tensor(rng.normal(size=t.shape)), with rng = np.random.default_rng(seed)",
    "randint": "rng.integers(low, high, shape), with rng = np.random.default_rng(seed)",
    "randperm": "rng.permutation(n), with rng = np.random.default_rng(seed)",
    "bernoulli": "rng.random(p.shape) < p.data, with rng = np.random.default_rng(seed)",
    "multinomial": "rng.choice(len(p), n, p=p), with rng = np.random.default_rng(seed)",
    "normal": "ad.stats.norm.rvs(mean, std), which has derivatives by both",
    "distributions": "ad.stats, as SciPy's",
    "utils": "optim.batches(X, y, batch_size=32, shuffle=True) for a DataLoader, nn.utils for what is about models",
    "get_default_dtype": "nn.get_default_dtype()",
    "set_default_dtype": "nn.set_default_dtype(dtype)",
    "device": "the name itself, t.to('cuda') or t.to('cpu')",
    "cuda": "t.to('cuda') and model.to('cuda')",
    "flatten": "t.reshape(-1)",
    "nn": "import nn, a package of its own",
    "optim": "import optim, a package of its own",
}
"""Names of JAX, HIPS autograd and PyTorch that the package has not."""


def no_name(package: str, name: str, rooms: Mapping[str, object]) -> str:
    """What to say where the package lacks a name: what to write instead, also in one of its rooms or NumPy's."""
    text = f"module {package!r} has no attribute {name!r}"
    room = next((room for room, module in rooms.items() if name in module.__dict__), None)
    instead = (
        NAMES.get(name) or (f"ad.{room}.{name}" if room else None) or ATTRIBUTES.get(name)
        or (f"np.{name}" if not name.startswith("_") and name in np.__dict__ else None)
    )  # fmt: skip
    return f"{text}; write {instead}" if instead else text


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Words:
    """What a package calls its arguments, for who calls them by other words.

    Args:
        instead: by another word, the package's own; of several, the first that a function has.
        package: whose words they are.
        model: whom it follows in them.
        others: who says the other words.
    """

    instead: Mapping[str, Sequence[str]]
    package: str
    model: str
    others: str

    def check(self, name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Whether other words were given, to a function that does not have them, for some that it has.

        Raises:
            TypeError: if so, with how it is written here.
        """
        if self.instead.keys().isdisjoint(given):
            return
        has = inspect.signature(function).parameters
        found = {
            word: next((own for own in self.instead[word] if own in has and own not in given), None)
            for word in given if word in self.instead and word not in has
        }  # fmt: skip
        if found and None not in found.values():
            got = ", ".join(f"{word}={given[word]!r}" for word in found)
            right = ", ".join(f"{own}={given[word]!r}" for word, own in found.items())
            said = " and ".join(f"{word}=" for word in found)
            raise TypeError(
                f"{name}: got {got}; {self.package} says {right}, as {self.model} does "
                f"({said} is what {self.others} say)"
            ) from None

    def checked(self, function: F) -> F:
        """Decorator of functions that have such words. (A call that succeeds is not looked at.)

        >>> AXES.checked(lambda x, axis: x)(1, dim=0)
        Traceback (most recent call last):
        TypeError: <lambda>: got dim=0; autodiff says axis=0, as NumPy does (dim= is what nn and PyTorch say)
        """

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TypeError:
                self.check(function.__name__, function, kwargs)
                raise

        return called  # type: ignore[return-value]  # of the function's own type, which wraps() does not say


_AXES = ("axis", "axes")
AXES = Words(
    {"dim": _AXES, "dims": _AXES, "keepdim": ("keepdims",), "dim1": ("axis1",), "dim2": ("axis2",)},
    "autodiff", "NumPy", "nn and PyTorch",
)  # fmt: skip
