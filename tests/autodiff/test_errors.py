"""What bad input gets: an exception of the kind a NumPy user expects, whose message names the operation, the shapes or
values it met and what would be right, and no trace of the attempt in any .grad.
"""

import re

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff import Tensor

AxisError = np.exceptions.AxisError


def leaf(*shape, dtype=np.float64):
    values = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    return Tensor(values, dtype=dtype, requires_grad=True)


A, B, C, V = leaf(2, 3), leaf(4, 5), leaf(3, 3), leaf(3)
N = Tensor([1, 2, 3])
LEAVES = (A, B, C, V)

ERRORS = {
    # operation: (what is done, exception, what its message must name)
    # Shapes that do not fit, family by family
    "add": (lambda: A + B, ValueError, ["add", "(2, 3)", "(4, 5)", "equal or one of them 1"]),
    "multiply by an array": (lambda: A * np.ones(4), ValueError, ["multiply", "(2, 3)", "(4,)"]),
    "array minus tensor": (lambda: np.ones(4) - A, ValueError, ["subtract", "(4,)", "(2, 3)"]),
    "power": (lambda: A**B, ValueError, ["power", "(2, 3)", "(4, 5)"]),
    "np.maximum": (lambda: np.maximum(A, B), ValueError, ["maximum", "(2, 3)", "(4, 5)"]),
    "np.hypot": (lambda: np.hypot(A, B), ValueError, ["hypot", "(2, 3)", "(4, 5)"]),
    "comparison": (lambda: A < B, ValueError, ["less", "(2, 3)", "(4, 5)"]),
    "where": (lambda: np.where(A.data > 0, A, B), ValueError, ["where", "(2, 3)", "(4, 5)"]),
    "clip": (lambda: np.clip(A, np.zeros(4), 1.0), ValueError, ["clip", "(2, 3)", "(4,)"]),
    "broadcast_to": (lambda: np.broadcast_to(A, (4, 2)), ValueError, ["broadcast_to", "(2, 3)", "(4, 2)"]),
    "reshape": (lambda: A.reshape(4, 2), ValueError, ["reshape", "(2, 3)", "(4, 2)"]),
    "reshape with two unknowns": (lambda: A.reshape(-1, -1), ValueError, ["reshape", "(-1, -1)"]),
    "transpose": (lambda: A.transpose(0, 1, 2), ValueError, ["transpose", "(2, 3)", "(0, 1, 2)"]),
    "squeeze": (lambda: A.squeeze(0), ValueError, ["squeeze", "(2, 3)"]),
    "concatenate": (lambda: np.concatenate([A, B]), ValueError, ["concatenate", "(2, 3)", "(4, 5)"]),
    "concatenate nothing": (lambda: ad.concatenate([]), ValueError, ["concatenate"]),
    "stack": (lambda: np.stack([A, B]), ValueError, ["stack", "(2, 3)", "(4, 5)"]),
    "vstack": (lambda: np.vstack([A, B]), ValueError, ["vstack|concatenate", "(2, 3)", "(4, 5)"]),
    "split": (lambda: np.split(A, 2, axis=1), ValueError, ["split", "(2, 3)"]),
    "tile": (lambda: np.tile(A, "two"), (TypeError, ValueError), ["tile"]),
    "repeat": (lambda: np.repeat(A, [1, 2, 3], axis=0), ValueError, ["repeat", "(2, 3)"]),
    "pad": (lambda: np.pad(A, ((1, 1),) * 3), ValueError, ["pad", "(2, 3)"]),
    "diagonal": (lambda: np.diagonal(V), ValueError, ["diagonal", "(3,)"]),
    "matmul": (lambda: A @ B, ValueError, ["matmul", "(2, 3)", "(4, 5)", "3", "4"]),
    "matmul with a vector": (lambda: A @ np.ones(4), ValueError, ["matmul", "(2, 3)", "(4,)"]),
    "matmul of a batch": (lambda: leaf(2, 2, 3) @ leaf(3, 3, 3), ValueError, ["matmul", "(2, 2, 3)", "(3, 3, 3)"]),
    "matmul with a number": (lambda: A @ 2.0, (TypeError, ValueError), ["matmul", "2.0|scalar|0-d|()"]),
    "dot": (lambda: np.dot(A, B), ValueError, ["dot", "(2, 3)", "(4, 5)"]),
    "inner": (lambda: np.inner(A, B), ValueError, ["inner", "(2, 3)", "(4, 5)"]),
    "tensordot": (lambda: np.tensordot(A, B, axes=1), ValueError, ["tensordot", "(2, 3)", "(4, 5)"]),
    "cross": (lambda: np.cross(A, B), ValueError, ["cross", "(2, 3)", "(4, 5)"]),
    "einsum lengths": (lambda: np.einsum("ij,jk->ik", A, B), ValueError, ["einsum", "(2, 3)", "(4, 5)", "j"]),
    "einsum letters": (lambda: np.einsum("ij->k", A), ValueError, ["einsum", "k", "ij->k"]),
    "einsum count": (lambda: np.einsum("ij,jk->ik", A), ValueError, ["einsum", "1|one", "2|two"]),
    "einsum rank": (lambda: np.einsum("ijk->i", A), ValueError, ["einsum", "(2, 3)", "ijk"]),
    "einsum symbols": (lambda: np.einsum("i$->i", A), ValueError, ["einsum", "$"]),
    "einsum repeated output": (lambda: np.einsum("ij->ii", A), ValueError, ["einsum", "i"]),
    "inv": (lambda: np.linalg.inv(A), (ValueError, np.linalg.LinAlgError), ["inv", "(2, 3)", "square"]),
    "inv of a singular matrix": (lambda: np.linalg.inv(Tensor(np.ones((2, 2)), requires_grad=True)),
                                 np.linalg.LinAlgError, ["inv", "ingular"]),
    "solve": (lambda: np.linalg.solve(C, B), (ValueError, np.linalg.LinAlgError), ["solve", "(3, 3)", "(4, 5)"]),
    "det": (lambda: np.linalg.det(A), (ValueError, np.linalg.LinAlgError), ["det", "(2, 3)", "square"]),
    "cholesky": (lambda: np.linalg.cholesky(-C @ C.T), np.linalg.LinAlgError, ["cholesky", "positive"]),
    "eigh": (lambda: np.linalg.eigh(A), (ValueError, np.linalg.LinAlgError), ["eigh", "(2, 3)", "square"]),
    "svd of a vector": (lambda: np.linalg.svd(V), (ValueError, np.linalg.LinAlgError), ["svd", "(3,)"]),
    "norm": (lambda: np.linalg.norm(leaf(2, 2, 2), 2), ValueError, ["norm"]),
    "matrix_power": (lambda: np.linalg.matrix_power(A, 2), (ValueError, np.linalg.LinAlgError),
                     ["matrix_power", "(2, 3)", "square"]),
    "multi_dot": (lambda: np.linalg.multi_dot([A, B]), ValueError, ["multi_dot|matmul", "(2, 3)", "(4, 5)"]),
    "solve_triangular": (lambda: ad.linalg.solve_triangular(C, B), (ValueError, np.linalg.LinAlgError),
                         ["solve_triangular", "(3, 3)", "(4, 5)"]),
    "at set": (lambda: A.at[0].set(np.ones(4)), ValueError, ["at", "(4,)", "(3,)"]),
    "cross_entropy": (lambda: ad.cross_entropy(A, np.array([0, 1, 2])), ValueError, ["cross_entropy", "(2, 3)", "(3,)"]),
    "cross_entropy class": (lambda: ad.cross_entropy(A, np.array([0, 3])), (ValueError, IndexError),
                            ["cross_entropy", "3"]),
    "cross_entropy reduction": (lambda: ad.cross_entropy(A, np.array([0, 1]), reduction="average"), ValueError,
                                ["cross_entropy", "average", "mean"]),
    # Axes and indices out of range
    "sum axis": (lambda: A.sum(axis=2), AxisError, ["sum", "2", "(2, 3)"]),
    "mean axis": (lambda: np.mean(A, axis=-3), AxisError, ["mean", "-3", "(2, 3)"]),
    "sum axis twice": (lambda: A.sum(axis=(0, 0)), ValueError, ["sum", "(0, 0)"]),
    "max axis": (lambda: A.max(axis=5), AxisError, ["max", "5", "(2, 3)"]),
    "prod axis": (lambda: np.prod(A, axis=5), AxisError, ["prod", "5", "(2, 3)"]),
    "std axis": (lambda: np.std(A, axis=5), AxisError, ["std", "5", "(2, 3)"]),
    "logsumexp axis": (lambda: ad.logsumexp(A, axis=5), AxisError, ["logsumexp", "5", "(2, 3)"]),
    "softmax axis": (lambda: ad.softmax(A, axis=5), AxisError, ["softmax", "5", "(2, 3)"]),
    "log_softmax axis": (lambda: ad.log_softmax(A, axis=5), AxisError, ["log_softmax", "5", "(2, 3)"]),
    "cumsum axis": (lambda: np.cumsum(A, axis=5), AxisError, ["cumsum", "5", "(2, 3)"]),
    "cumprod axis": (lambda: np.cumprod(A, axis=5), AxisError, ["cumprod", "5", "(2, 3)"]),
    "argmax axis": (lambda: np.argmax(A, axis=5), AxisError, ["argmax", "5", "(2, 3)"]),
    "swapaxes axis": (lambda: A.swapaxes(0, 5), AxisError, ["swapaxes", "5", "(2, 3)"]),
    "moveaxis axis": (lambda: np.moveaxis(A, 0, 5), AxisError, ["moveaxis", "5", "(2, 3)"]),
    "transpose axis": (lambda: np.transpose(A, (0, 5)), AxisError, ["transpose", "5", "(2, 3)"]),
    "expand_dims axis": (lambda: np.expand_dims(A, 5), AxisError, ["expand_dims", "5", "(2, 3)"]),
    "concatenate axis": (lambda: np.concatenate([A, A], axis=2), AxisError, ["concatenate", "2", "(2, 3)"]),
    "stack axis": (lambda: np.stack([A, A], axis=5), AxisError, ["stack", "5"]),
    "flip axis": (lambda: np.flip(A, 5), AxisError, ["flip", "5", "(2, 3)"]),
    "roll axis": (lambda: np.roll(A, 1, 5), AxisError, ["roll", "5", "(2, 3)"]),
    "sort axis": (lambda: np.sort(A, axis=5), AxisError, ["sort", "5", "(2, 3)"]),
    "repeat axis": (lambda: np.repeat(A, 2, axis=5), AxisError, ["repeat", "5", "(2, 3)"]),
    "take axis": (lambda: np.take(A, [0], axis=5), AxisError, ["take", "5", "(2, 3)"]),
    "norm axis": (lambda: np.linalg.norm(A, axis=5), AxisError, ["norm", "5", "(2, 3)|2 axes"]),
    "max of nothing": (lambda: leaf(0, 3).max(axis=0), ValueError, ["max", "(0, 3)"]),
    "index": (lambda: A[2], IndexError, ["getitem|index", "2", "(2, 3)"]),
    "too many indices": (lambda: A[0, 0, 0], IndexError, ["getitem|index", "(2, 3)"]),
    "array index": (lambda: A[np.array([0, 7])], IndexError, ["getitem|index", "7", "(2, 3)"]),
    "mask": (lambda: A[np.ones((3, 3), bool)], IndexError, ["getitem|index", "(2, 3)"]),
    "float index": (lambda: A[0.5], (IndexError, TypeError), ["getitem|index"]),
    "take index": (lambda: np.take(A, [7], axis=0), IndexError, ["take", "7", "(2, 3)"]),
    "at index": (lambda: A.at[7].set(1.0), IndexError, ["at", "7", "(2, 3)"]),
    # Values of the wrong kind
    "text": (lambda: A + "one", TypeError, ["add", "one"]),
    "None": (lambda: A * None, TypeError, ["multiply", "None"]),
    "a ragged list of tensors": (lambda: V + [V, [V]], ValueError, ["array", "[0]", "(3,)", "(1, 3)"]),
    "dictionary": (lambda: A - {}, TypeError, ["subtract", "{}"]),
    "object array": (lambda: A * np.array([None, 1, 2]), TypeError, ["multiply", "object"]),
    "exp of text": (lambda: ad.exp("one"), TypeError, ["exp", "one"]),
    "complex()": (lambda: complex(leaf()), TypeError, ["complex"]),
    "negative integer power": (lambda: N**-1, ValueError, ["power", "-1", "float"]),
    # Tensors
    "text as data": (lambda: Tensor("one"), TypeError, ["a Tensor holds numbers"]),
    "ragged data": (lambda: Tensor([[1.0], [1.0, 2.0]]), ValueError, ["Tensor", "list"]),
    "a list of recorded tensors": (lambda: Tensor([V[0], V[1]]), TypeError, ["ad.array"]),
    "integers that require grad": (lambda: Tensor([1, 2], requires_grad=True), TypeError, ["int64", "dtype=float"]),
    "booleans that require grad": (lambda: Tensor(True, requires_grad=True), TypeError, ["bool"]),
    "integers that require grad later": (lambda: setattr(Tensor([1]), "requires_grad", True), TypeError, ["int64"]),
    "arange of integers with grad": (lambda: ad.arange(3, requires_grad=True), TypeError, ["int64", "float"]),
    "requires_grad of a result": (lambda: setattr(A * 2, "requires_grad", False), RuntimeError, ["detach"]),
    "float()": (lambda: float(A), TypeError, ["float", "(2, 3)", "sum"]),
    "int()": (lambda: int(A), TypeError, ["int", "(2, 3)"]),
    "bool()": (lambda: bool(A > 0), TypeError, ["bool", "(2, 3)", "any", "all"]),
    "if on a tensor": (lambda: 1 if A else 2, TypeError, ["bool", "(2, 3)"]),
    "item()": (lambda: A.item(), ValueError, ["item", "(2, 3)"]),
    "index by a float tensor": (lambda: [1, 2][Tensor(1.0)], TypeError, ["integer", "float64"]),
    "len of a number": (lambda: len(leaf()), TypeError, ["len", "0-d"]),
    "iteration over a number": (lambda: list(leaf()), TypeError, ["0-d", "item"]),
    "t[i] = v": (lambda: A.__setitem__(0, 1.0), TypeError, [".at[i].set(v)", ".add(v)"]),
    "t[i] = v of the wrong shape": (lambda: Tensor(np.ones(3)).__setitem__(slice(2), [1.0, 2.0, 3.0]), ValueError, ["3", "2"]),
    "integer data for a parameter": (lambda: setattr(leaf(3), "data", np.array([1])), TypeError, ["int64", "astype"]),
    "grad of the wrong shape": (lambda: setattr(leaf(3), "grad", np.ones(4)), ValueError, ["(3,)", "(4,)"]),
    # Backward
    "backward on a non-scalar": (lambda: (A * 2).backward(), ValueError, ["backward", "(2, 3)", "sum()"]),
    "gradients of a non-scalar": (lambda: ad.gradients(A * 2, A), ValueError, ["gradients", "(2, 3)", "sum()"]),
    "a gradient of the wrong shape": (lambda: (A * 2).backward(np.ones(3)), ValueError, ["backward", "(3,)", "(2, 3)"]),
    "a number for a non-scalar": (lambda: (A * 2).backward(1.0), ValueError, ["backward", "()", "(2, 3)"]),
    "a gradient of complex dtype": (lambda: (A * 2).backward(np.ones((2, 3), complex)), TypeError, ["complex"]),
    "a gradient of a wider dtype": (lambda: leaf(3, dtype=np.float32).backward(np.ones(3)), TypeError,
                                    ["backward", "float64", "float32", "astype"]),
    "a gradient that is text": (lambda: A.sum().backward("one"), TypeError, ["numbers|Tensor"]),
    "backward without gradient": (lambda: Tensor(1.0).backward(), RuntimeError, ["backward", "requires_grad=True"]),
    "backward of a result of constants": (lambda: (Tensor(1.0) * 2).backward(), RuntimeError, ["no_grad", "requires_grad"]),
    "unused input": (lambda: ad.gradients(A.sum(), [A, V]), RuntimeError, ["input 1", "(3,)", "allow_unused=True"]),
    "input without gradient": (lambda: ad.gradients(A.sum(), Tensor(1.0)), RuntimeError, ["requires_grad=True"]),
    "input that is an array": (lambda: ad.gradients(A.sum(), A.data), TypeError, ["Tensor", "ndarray|float"]),
    "output that is an array": (lambda: ad.gradients([np.ones(())], A), TypeError, ["Tensor", "ndarray"]),
    "no inputs": (lambda: ad.gradients(A.sum(), []), ValueError, ["input"]),
    "too few grad_outputs": (lambda: ad.gradients([A, V], [A, V], grad_outputs=[np.ones((2, 3))]), ValueError,
                             ["2 outputs", "1 grad_outputs"]),
    "constant outputs": (lambda: ad.gradients(Tensor(1.0), A), RuntimeError, ["no output"]),
    "a hook that is no function": (lambda: A.register_hook(3), TypeError, ["function", "3"]),
    "a hook on a constant": (lambda: Tensor(1.0).register_hook(print), RuntimeError, ["does not require"]),
    "no_grad of something else": (lambda: ad.no_grad(3), TypeError, ["no_grad", "3"]),
    # Transforms
    "grad of a non-scalar": (lambda: ad.grad(lambda x: x * 2)(np.ones(3)), ValueError, ["grad", "(3,)", "sum|jacobian"]),
    "grad of a plain constant": (lambda: ad.grad(lambda x: 3.0)(1.0), TypeError, ["grad", "Tensor", "3.0"]),
    "grad of a function that detaches": (lambda: ad.grad(lambda x: np.asarray(x).sum())(np.ones(3)), TypeError,
                                         ["grad", "Tensor", "np.asarray"]),
    "grad of None": (lambda: ad.grad(lambda x: None)(1.0), TypeError, ["grad", "None"]),
    "grad of a tuple": (lambda: ad.grad(lambda x: (x, x))(1.0), TypeError, ["grad", "tuple"]),
    "grad of no function": (lambda: ad.grad(3.0), TypeError, ["grad", "function", "3.0"]),
    "grad by an integer array": (lambda: ad.grad(lambda x: x.sum())(np.array([1, 2])), TypeError, ["int64", "float"]),
    "argnums out of range": (lambda: ad.grad(lambda x: x, argnums=1)(1.0), (TypeError, ValueError, IndexError),
                             ["argnums", "1"]),
    "argnums of the wrong kind": (lambda: ad.grad(lambda x: x, argnums="x")(1.0), TypeError, ["argnums", "x"]),
    "hvp tangent": (lambda: ad.hvp(lambda x: (x**2).sum(), np.ones(3), np.ones(4)), ValueError, ["hvp", "(4,)", "(3,)"]),
    "jvp tangent": (lambda: ad.jvp(lambda x: x**2, np.ones(3), np.ones(4)), ValueError, ["jvp", "(4,)", "(3,)"]),
    "vjp cotangent": (lambda: ad.vjp(lambda x: x**2, np.ones(3))[1](np.ones(4)), ValueError, ["(4,)", "(3,)"]),
    "hessian of a non-scalar": (lambda: ad.hessian(lambda x: x * 2)(np.ones(3)), (ValueError, TypeError),
                                ["hessian", "(3,)"]),
    "nan in gradcheck's inputs": (lambda: ad.gradcheck(lambda x: x.sum(), np.array([1.0, np.nan])), ValueError,
                                  ["gradcheck", "nan|NaN"]),
    "integers in gradcheck": (lambda: ad.gradcheck(lambda x: x.sum(), np.array([1, 2])), (TypeError, ValueError),
                              ["gradcheck", "int"]),
    # An operation of the user's own
    "primitive without rules": (lambda: ad.primitive(np.exp, name="f", vjps=[]), TypeError, ["vjps"]),
    "primitive that is no function": (lambda: ad.primitive(3, name="f", vjps=[print]), TypeError, ["forward", "3"]),
    "primitive of too many inputs": (lambda: ad.primitive(np.exp, name="f", vjps=[lambda g, y, x: g])(A, A), TypeError,
                                     ["f", "1", "2"]),
    "primitive that returns a Tensor": (lambda: ad.primitive(lambda x: Tensor(x), name="f", vjps=[print])(A),
                                        (TypeError, ValueError), ["f", "Tensor"]),
    "primitive that returns None": (lambda: ad.primitive(lambda x: None, name="f", vjps=[print])(A),
                                    (TypeError, ValueError), ["f", "None"]),
    "data changed after use": (lambda: changed(), RuntimeError, ["multiply", "(3,)", "before the update"]),
    "freed graph": (lambda: freed(), RuntimeError, ["retain_graph=False", "again"]),
}  # fmt: skip


def changed():
    p = leaf(3)
    y = (p * p).sum()
    p.data -= 1.0
    y.backward()


def freed():
    y = (leaf(3) ** 2).sum()
    y.backward(retain_graph=False)
    y.backward()


@pytest.mark.parametrize("what", ERRORS)
def test_bad_input_gets_a_clear_error_and_leaves_no_trace(what):
    call, error, words = ERRORS[what]
    values = [x.data.copy() for x in LEAVES]
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    for word in words:
        choices = [re.escape(w) for w in word.split("|")]
        assert re.search("|".join(choices), message), f"{word!r} is not in: {message}"
    assert len(message.split()) >= 5, f"too terse: {message}"
    for x, before in zip(LEAVES, values):
        assert x.grad is None and x.requires_grad
        np.testing.assert_array_equal(x.data, before)
    assert ad.is_grad_enabled()


def test_a_failed_backward_leaves_every_grad_as_it_was():
    bad = ad.primitive(lambda x: x * 1.0, name="bad", vjps=[lambda g, y, x: 1 / 0])
    x, w = leaf(3), leaf(3)
    (x * w).sum().backward()
    gx, gw = x.grad, w.grad
    loss = (bad(x) * w).sum() + (w * 2).sum()
    for attempt in (loss.backward, lambda: loss.backward(create_graph=True), lambda: ad.gradients(loss, [x, w])):
        with pytest.raises(ZeroDivisionError):
            attempt()
        assert x.grad is gx and w.grad is gw
    np.testing.assert_array_equal(gx.data, w.data)


def test_an_error_inside_a_transforms_function_comes_through_and_restores_the_mode():
    def fails(x):
        raise KeyError("mine")

    for transform in (ad.grad(fails), ad.value_and_grad(fails), ad.hessian(fails), ad.jacobian(fails)):
        with pytest.raises(KeyError, match="mine"):
            transform(1.0)
        assert ad.is_grad_enabled()


def test_an_operation_that_fails_can_be_repeated_with_the_right_input():
    x = leaf(3)
    with pytest.raises(ValueError):
        x @ np.ones(4)
    (x @ np.ones(3)).backward()
    np.testing.assert_array_equal(x.grad.data, np.ones(3))


def test_a_wrong_rule_is_found_by_gradcheck_with_the_element_and_both_values():
    wrong = ad.primitive(np.sin, name="sine", vjps=[lambda g, y, x: g * np.cos(x) * (x < 1)])
    with pytest.raises(ad.GradientCheckError) as raised:
        ad.gradcheck(lambda x: wrong(x).sum(), np.array([0.5, 1.5, 0.1]))
    message = str(raised.value)
    assert "1" in message and "0.07" in message, message  # the element, and cos 1.5 = 0.0707…
    assert ad.gradcheck(lambda x: np.sin(x).sum(), np.array([0.5, 1.5, 0.1]))
    assert ad.gradgradcheck(lambda x: np.sin(x).sum(), np.array([0.5, 1.5, 0.1]))


def test_messages_show_small_values_not_whole_arrays():
    big = leaf(1000)
    with pytest.raises(ValueError) as raised:
        big + np.ones(999)
    assert len(str(raised.value)) < 500


LARGE = (np.random.default_rng(0).normal(size=(60, 4)), np.arange(60))
NO_FUNCTIONS = {
    "grad": lambda: ad.grad(LARGE),
    "vmap": lambda: ad.vmap(LARGE),
    "checkpoint": lambda: ad.checkpoint(LARGE),
    "scan": lambda: ad.scan(LARGE, 0.0, np.arange(3)),
    "gradcheck": lambda: ad.gradcheck(LARGE, LARGE),
    "no_grad": lambda: ad.no_grad(LARGE),
    "funm_sym": lambda: ad.linalg.funm_sym(np.eye(2), LARGE),
    "register_hook": lambda: A.register_hook(LARGE),
    "curvature: the model": lambda: ad.curvature.influence(LARGE, nn.MSELoss(), LARGE, LARGE, damping=1.0),
    "curvature: the loss": lambda: ad.curvature.influence(nn.Linear(4, 1), LARGE, LARGE, LARGE, damping=1.0),
    "fit: the model": lambda: optim.fit(LARGE, nn.MSELoss(), LARGE, optimizer=None, epochs=1),
    "fit: the loss": lambda: optim.fit(nn.Linear(4, 1), LARGE, LARGE, optimizer=None, epochs=1),
    "fit: the optimiser": lambda: optim.fit(nn.Linear(4, 1), nn.MSELoss(), LARGE, optimizer=LARGE, epochs=1),
    "Sequential": lambda: nn.Sequential(LARGE),
    "add_module": lambda: nn.Sequential().add_module("a", LARGE),
    "Lambda": lambda: nn.Lambda(LARGE),
    "forward hook": lambda: nn.Tanh().register_forward_hook(LARGE),
    "summary": lambda: nn.summary(LARGE, (4,)),
    "generate": lambda: nn.generate(LARGE, [0], 3),
    "figure": lambda: nn.plot.activation(LARGE),
}


@pytest.mark.parametrize("name", NO_FUNCTIONS)
def test_data_in_the_place_of_a_function_or_a_model_are_named_and_not_printed_out(name):
    with pytest.raises(TypeError, match=r"not \(array") as error:
        NO_FUNCTIONS[name]()
    assert len(str(error.value)) < 300
