"""What a Tensor can do that needs the upper floors: operators, ndarray's methods and backward.

The operations are made of Tensors, so they cannot exist before the class. This is the one place where the two meet:
the methods are written out here, for editors, type checkers and readers, each naming the operation it stands for;
`bind` hands the operations in once they exist, and puts the operators of arithmetic straight onto the class.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from . import leaving
from .devices import destination
from .elsewhere import ATTRIBUTES, AXES
from .leaving import no_attribute

TensorType = TypeVar("TensorType")
"""The class that these methods belong to, which stands above this file."""

ops: Any = None  # the namespace of operations, handed in by `bind`


def bind(operations: Any) -> None:
    """Give the methods below the operations they name (called once, by ``autodiff/__init__.py``)."""
    global ops
    ops = leaving.functions = operations
    for name, operation in {
        "__add__": ops.add.operator,
        "__sub__": ops.subtract.operator,
        "__mul__": ops.multiply.operator,
        "__truediv__": ops.divide.operator,
        "__matmul__": ops.matmul.operator,
        "__neg__": ops.negative,
    }.items():
        operation.__doc__ = operation.__doc__ or getattr(ArrayMethods, name).__doc__
        setattr(ArrayMethods, name, operation)  # no function call in between: these are the hot ones
    for name in (
        "squeeze", "swapaxes", "repeat", "take", "diagonal", "trace",
        "sum", "mean", "prod", "max", "min", "var", "std", "cumsum", "cumprod",
    ):  # fmt: skip
        setattr(ArrayMethods, name, getattr(ops, name))  # these look at the words of their arguments


class ArrayMethods(Generic[TensorType]):
    """Operators and methods of ndarray, on Tensors."""

    __slots__ = ()

    def backward(self, gradient: Any = None, *, create_graph: bool = False, retain_graph: bool = True) -> None:
        """Add the derivatives of this tensor to the ``.grad`` of every leaf it was computed from.

        Args:
            gradient: the cotangent to start from, an array or Tensor of this shape; 1 if this tensor has one element.
            create_graph: record the gradients' own graph, so that they can be differentiated again. A leaf and its
                recorded ``.grad`` then refer to each other: ``zero_grad()`` breaks that cycle (`ad.gradients` makes
                none).
            retain_graph: keep the graph for another backward pass; False frees it.

        Raises:
            ValueError: not one element and no `gradient`, or a `gradient` of the wrong shape.
            TypeError: a `gradient` whose dtype does not fit.
            RuntimeError: no gradient required here, a graph that was freed, or data written after use.

        >>> from autodiff import Tensor
        >>> w = Tensor(3.0, requires_grad=True)
        >>> (w**2).backward()
        >>> w.grad
        Tensor(6.)
        """
        ops.backward(self, gradient, create_graph=create_graph, retain_graph=retain_graph)

    # Arithmetic

    def __add__(self, other: Any) -> TensorType:
        return ops.add.operator(self, other)

    def __radd__(self, other: Any) -> TensorType:
        return ops.add.operator(other, self)

    def __sub__(self, other: Any) -> TensorType:
        return ops.subtract.operator(self, other)

    def __rsub__(self, other: Any) -> TensorType:
        return ops.subtract.operator(other, self)

    def __mul__(self, other: Any) -> TensorType:
        return ops.multiply.operator(self, other)

    def __rmul__(self, other: Any) -> TensorType:
        return ops.multiply.operator(other, self)

    def __truediv__(self, other: Any) -> TensorType:
        return ops.divide.operator(self, other)

    def __rtruediv__(self, other: Any) -> TensorType:
        return ops.divide.operator(other, self)

    def __floordiv__(self, other: Any) -> TensorType:
        return ops.floor_divide.operator(self, other)

    def __rfloordiv__(self, other: Any) -> TensorType:
        return ops.floor_divide.operator(other, self)

    def __mod__(self, other: Any) -> TensorType:
        return ops.mod.operator(self, other)

    def __rmod__(self, other: Any) -> TensorType:
        return ops.mod.operator(other, self)

    def __divmod__(self, other: Any) -> tuple[TensorType, TensorType]:
        return ops.floor_divide.operator(self, other), ops.mod(self, other)

    def __rdivmod__(self, other: Any) -> tuple[TensorType, TensorType]:
        return ops.floor_divide.operator(other, self), ops.mod(other, self)

    def __pow__(self, other: Any, modulus: Any = None) -> TensorType:
        if modulus is not None:
            raise TypeError("pow(t, p, modulus) is for integers; write (t**p) % modulus")
        return ops.power.operator(self, other)

    def __rpow__(self, other: Any) -> TensorType:
        return ops.power.operator(other, self)

    def __matmul__(self, other: Any) -> TensorType:
        return ops.matmul.operator(self, other)

    def __rmatmul__(self, other: Any) -> TensorType:
        return ops.matmul.operator(other, self)

    def __neg__(self) -> TensorType:
        return ops.negative(self)

    def __pos__(self) -> TensorType:
        return ops.positive(self)

    def __abs__(self) -> TensorType:
        return ops.absolute(self)

    def __round__(self, decimals: int | None = None) -> TensorType:
        return ops.round(self, decimals or 0)

    # In place: on a user's leaf that requires a gradient these write into it, under no_grad alone; any other name is
    # bound to the new tensor

    def __iadd__(self, other: Any) -> TensorType:
        return self._in_place("+", ops.add, other)

    def __isub__(self, other: Any) -> TensorType:
        return self._in_place("-", ops.subtract, other)

    def __imul__(self, other: Any) -> TensorType:
        return self._in_place("*", ops.multiply, other)

    def __itruediv__(self, other: Any) -> TensorType:
        return self._in_place("/", ops.divide, other)

    def __ifloordiv__(self, other: Any) -> TensorType:
        return self._in_place("//", ops.floor_divide, other)

    def __imod__(self, other: Any) -> TensorType:
        return self._in_place("%", ops.mod, other)

    def __ipow__(self, other: Any) -> TensorType:  # type: ignore[misc]  # Python gives no modulus here
        return self._in_place("**", ops.power, other)

    def __imatmul__(self, other: Any) -> TensorType:
        return self._in_place("@", ops.matmul, other)

    def _in_place(self, symbol: str, operation: Any, other: Any) -> Any:
        t: Any = self
        if not t.requires_grad or not t.is_leaf or t.is_variable:
            return operation.operator(t, other)
        if not t.is_written_in_place():
            raise TypeError(
                f"t {symbol}= v: t is a leaf that requires a gradient, so the name would be bound to a result and the "
                f"leaf itself not change; write t = t {symbol} v for a new tensor, or update the leaf inside "
                f"ad.no_grad()"
            )
        result = operation.operator(t, other)
        if result is NotImplemented:
            return result
        if result.shape != t.shape or (result.dtype != t.dtype and result.dtype.kind != "f"):
            raise ValueError(
                f"t {symbol}= v: the result has shape {result.shape} and dtype {result.dtype}, and does not fit into "
                f"t of shape {t.shape} and dtype {t.dtype}"
            )
        t[...] = result
        return t

    # Comparisons and logic: boolean tensors, no gradient

    def __eq__(self, other: object) -> TensorType:  # type: ignore[override]  # a boolean tensor, as NumPy gives an array
        return ops.equal.operator(self, other)

    def __ne__(self, other: object) -> TensorType:  # type: ignore[override]  # a boolean tensor, as NumPy gives an array
        return ops.not_equal.operator(self, other)

    def __lt__(self, other: Any) -> TensorType:
        return ops.less.operator(self, other)

    def __le__(self, other: Any) -> TensorType:
        return ops.less_equal.operator(self, other)

    def __gt__(self, other: Any) -> TensorType:
        return ops.greater.operator(self, other)

    def __ge__(self, other: Any) -> TensorType:
        return ops.greater_equal.operator(self, other)

    def __and__(self, other: Any) -> TensorType:
        return ops.bitwise_and.operator(self, other)

    def __rand__(self, other: Any) -> TensorType:
        return ops.bitwise_and.operator(other, self)

    def __or__(self, other: Any) -> TensorType:
        return ops.bitwise_or.operator(self, other)

    def __ror__(self, other: Any) -> TensorType:
        return ops.bitwise_or.operator(other, self)

    def __xor__(self, other: Any) -> TensorType:
        return ops.bitwise_xor.operator(self, other)

    def __rxor__(self, other: Any) -> TensorType:
        return ops.bitwise_xor.operator(other, self)

    def __lshift__(self, other: Any) -> TensorType:
        return ops.left_shift.operator(self, other)

    def __rlshift__(self, other: Any) -> TensorType:
        return ops.left_shift.operator(other, self)

    def __rshift__(self, other: Any) -> TensorType:
        return ops.right_shift.operator(self, other)

    def __rrshift__(self, other: Any) -> TensorType:
        return ops.right_shift.operator(other, self)

    def __invert__(self) -> TensorType:
        return ops.invert(self)

    # Shape

    def __getitem__(self, index: Any) -> TensorType:
        return ops.getitem(self, index)

    @property
    def at(self) -> Any:
        """Functional updates: ``t.at[i].set(v)``, ``.add(v)``, ``.multiply(v)`` return a new Tensor with gradients to
        both; where an index repeats, ``add`` and ``multiply`` apply every time and ``set`` leaves one of the values."""
        return ops.at(self)

    @property
    def T(self) -> TensorType:
        """The axes in reverse order."""
        return ops.transpose(self)

    @property
    def mT(self) -> TensorType:
        """The last two axes swapped: a stack of matrices, each transposed."""
        return ops.matrix_transpose(self)

    def reshape(self, *shape: Any, order: str = "C") -> TensorType:
        """The same elements in another shape, as `numpy.reshape`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> TensorType:
        """The axes in another order, as `numpy.transpose`."""
        order = None if not axes else axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return ops.transpose(self, order)

    def swapaxes(self, axis1: int, axis2: int) -> TensorType:
        """Two axes exchanged."""
        return ops.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> TensorType:
        """Without the axes of length 1."""
        return ops.squeeze(self, axis)

    def ravel(self, order: str = "C") -> TensorType:
        """All elements along one axis."""
        return ops.ravel(self, order)

    def flatten(self, order: str = "C") -> TensorType:
        """All elements along one axis."""
        if not isinstance(order, str):
            raise TypeError(
                f"flatten: takes an order, 'C' or 'F', not {order!r}; PyTorch's flatten(1) is t.reshape(len(t), -1)"
            )
        return ops.ravel(self, order)

    def repeat(self, repeats: Any, axis: int | None = None) -> TensorType:
        """Each element repeated, as `numpy.repeat`."""
        return ops.repeat(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None, mode: str = "raise") -> TensorType:
        """The elements at `indices`, as `numpy.take`."""
        return ops.take(self, indices, axis, mode=mode)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TensorType:
        """The diagonal, as `numpy.diagonal`."""
        return ops.diagonal(self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TensorType:
        """The sum of the diagonal."""
        return ops.trace(self, offset, axis1, axis2)

    def astype(self, dtype: Any, *, copy: bool = True) -> TensorType:
        """The same values in another dtype; the gradient comes back in this one. Integers and booleans carry none.
        Without `copy`, a tensor of that dtype is returned itself."""
        return ops.astype(self, dtype, copy=copy)

    def copy(self) -> TensorType:
        """The same values in memory of their own, with gradient."""
        return ops.copy(self)

    def to(
        self, target: Any = None, dtype: Any = None, non_blocking: bool = False, copy: bool = False, *,
        device: Any = None,
    ) -> TensorType:  # fmt: skip
        """PyTorch's: on another device, "cpu" or "cuda" (a GPU, where CuPy is), with another dtype, or where and as
        another tensor is. The gradient comes back to where the tensor was."""
        beside, found = destination("Tensor.to", target, device, dtype)
        y = ops.astype(self, self.dtype if found is None else found, copy=copy)  # type: ignore[attr-defined]
        return y if beside is None else ops.transfer(y, beside[0])

    def cpu(self) -> TensorType:
        """In the processor's memory; the tensor itself, if it is there."""
        return ops.transfer(self, None)

    def cuda(self) -> TensorType:
        """``to("cuda")``."""
        return self.to("cuda")

    def half(self) -> TensorType:
        """``astype("float16")``."""
        return self.astype("float16")

    # Complex numbers

    @property
    def real(self) -> TensorType:
        """The real part; a real tensor itself."""
        return ops.real(self)

    @property
    def imag(self) -> TensorType:
        """The imaginary part; zeros of a real tensor."""
        return ops.imag(self)

    def conj(self) -> TensorType:
        """The complex conjugate; a real tensor itself."""
        return ops.conj(self)

    def conjugate(self) -> TensorType:
        """The complex conjugate; a real tensor itself."""
        return ops.conj(self)

    # Reductions

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
        where: Any = True,
    ) -> TensorType:  # fmt: skip
        """Sum over some axes (all by default), as `numpy.sum`."""
        return ops.sum(self, axis, dtype, out, keepdims, initial, where)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
    ) -> TensorType:
        """Mean over some axes, as `numpy.mean`."""
        return ops.mean(self, axis, dtype, out, keepdims, where=where)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
        where: Any = True,
    ) -> TensorType:  # fmt: skip
        """Product over some axes, as `numpy.prod`."""
        return ops.prod(self, axis, dtype, out, keepdims, initial, where)

    def max(
        self, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> TensorType:
        """Maximum over some axes; ties share the gradient equally."""
        return ops.max(self, axis, out, keepdims, initial, where)

    def min(
        self, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> TensorType:
        """Minimum over some axes; ties share the gradient equally."""
        return ops.min(self, axis, out, keepdims, initial, where)

    def var(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
        where: Any = True, correction: Any = None,
    ) -> TensorType:  # fmt: skip
        """Variance over some axes (divided by n - ddof), as `numpy.var`."""
        return ops.var(self, axis, dtype, out, ddof, keepdims, where=where, correction=correction)

    def std(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
        where: Any = True, correction: Any = None,
    ) -> TensorType:  # fmt: skip
        """Standard deviation over some axes, as `numpy.std`; its gradient is 0 where it is 0."""
        return ops.std(self, axis, dtype, out, ddof, keepdims, where=where, correction=correction)

    def cumsum(self, axis: int | None = None, dtype: Any = None, out: Any = None) -> TensorType:
        """Running sum, as `numpy.cumsum`."""
        return ops.cumsum(self, axis, dtype, out)

    def cumprod(self, axis: int | None = None, dtype: Any = None, out: Any = None) -> TensorType:
        """Running product, as `numpy.cumprod`."""
        return ops.cumprod(self, axis, dtype, out)

    def any(self, axis: Any = None, *, keepdims: Any = False, where: Any = True) -> TensorType:
        """Whether any element is true; no gradient."""
        return ops.any(self, axis, keepdims=keepdims, where=where)

    def all(self, axis: Any = None, *, keepdims: Any = False, where: Any = True) -> TensorType:
        """Whether all elements are true; no gradient."""
        return ops.all(self, axis, keepdims=keepdims, where=where)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> TensorType:
        """Index of the first maximum; no gradient."""
        return ops.argmax(self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> TensorType:
        """Index of the first minimum; no gradient."""
        return ops.argmin(self, axis, keepdims=keepdims)

    def argsort(self, axis: int | None = -1, kind: str | None = None) -> TensorType:
        """Indices that sort; no gradient."""
        return ops.argsort(self, axis, kind=kind)

    def nonzero(self) -> tuple[TensorType, ...]:
        """Indices of the elements that are not zero; no gradient."""
        return ops.nonzero(self)

    # Elementwise and products

    def clip(self, min: Any = None, max: Any = None) -> TensorType:
        """Limited to an interval; at a bound the gradient is 1, outside 0."""
        return ops.clip(self, min, max)

    def round(self, decimals: int = 0) -> TensorType:
        """Rounded; its gradient is 0."""
        return ops.round(self, decimals)

    def dot(self, other: Any) -> TensorType:
        """`numpy.dot` with another tensor or array."""
        return ops.dot(self, other)


class _Elsewhere:
    """An attribute that a Tensor has not, and that says how it is written here. (A method ``__getattr__`` of the class
    could say it of every name, and would make each access to a Tensor's own attributes slower.)"""

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name, self._instead = name, instead

    def __get__(self, tensor: Any, kind: type) -> Any:
        raise AttributeError(no_attribute(kind.__name__, self._name, self._instead), name=self._name, obj=tensor)


for _name, _method in list(vars(ArrayMethods).items()):
    if not {"axis", "axis1"}.isdisjoint(getattr(getattr(_method, "__code__", None), "co_varnames", ())):
        setattr(ArrayMethods, _name, AXES.checked(_method))

for _name, _instead in ATTRIBUTES.items():
    setattr(ArrayMethods, _name, _Elsewhere(_name, _instead))
