"""A program, ready to be called: whether it fits, what goes in, what it leaves behind.

All of it is one function, written for the program, with nothing in it that the program does not need.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from operator import is_
from typing import Any, NoReturn, cast

import numpy as np

from ..machine.layouts import differ
from ..tensor import Tensor, clock, wrap
from .native.compiled import Compiled, Unmet
from .signature import FIRST, reader, unchanged_text
from .source import Source, numpy_function
from .tracing import Traced


class Unfit(Exception):
    """Why a program cannot take a call; `another` may."""

    def __init__(self, reason: str, another: bool = False) -> None:
        super().__init__(reason)
        self.another = another


class Entry:
    """A program, ready to run.

    Args:
        traced: it, and where what it takes comes from.
        key: of the arguments for which it was made.
        name: of its function.
        reuse_outputs: whether its results may lie in its own memory.
        native: whether it is to be machine code.
    """

    def __init__(self, traced: Traced, key: Any, name: str, reuse_outputs: bool, native: bool) -> None:
        self.traced, self.runs = traced, 0
        self.source = Source(traced.program, name if name.isidentifier() else "program", reuse_outputs)
        self._machine = Compiled(traced.program) if native else None
        self._run: Callable[..., Any]
        self._unmet: type[Exception]
        if self._machine is not None:
            self._run, self._unmet = self._machine.run, Unmet
        else:
            self._run, self._unmet = numpy_function(self.source)
        self._running = False
        # Where results are, too, that come back as arguments while the next call overwrites them.
        self._memory = self._run.__globals__.get("memory") if reuse_outputs and not native else None
        # Programs are silent: where NumPy would warn of infinities, the function has been run once.
        self._context = contextvars.copy_context()
        self._context.run(np.seterr, all="ignore")
        self._written_places = [*dict.fromkeys(traced.program.donated.values())]
        self._read_places = [
            i for i, x in enumerate(traced.program.inputs)
            if i not in self._written_places and not x.options.get("weak")
        ]  # fmt: skip
        self._written_of_tensors = [len(traced.arguments) + k for kind, k in traced.written if kind == "tensor"]
        self._written: list[Any] = []
        """What the last call wrote, where no argument is among it, which would be kept alive."""
        self._owners: set[int] = set()
        """Ids of those whose memory they are."""
        expected = [(x.shape, x.dtype, x.strides) for x in traced.program.inputs][len(traced.arguments) :]
        self._layouts: list[tuple[Any, bool, Any]] = [
            *((x, False, layout) for x, layout in zip(traced.tensors, expected)),
            *((x, True, layout) for x, layout in zip(traced.gradients, expected[len(traced.tensors) :])),
        ]
        """Tensors, or the numbers of arguments; whether it is their gradient that is an input; and its layout."""
        self._reached = [
            (x, without, bool(x._requires_grad), x._hooks)
            for x, without in zip(traced.reached, traced.without, strict=True)
        ]
        self._left_at_arguments = [where for where, _ in traced.left if isinstance(where, int)]
        self._names: dict[str, Any] = {
            "unchanged": traced.closure.unchanged, "Unfit": Unfit, "run": self._run, "clock": clock,
            "context": self._context.run, "wrap": wrap, "REPLACED": _REPLACED, "ndarray": np.ndarray, "array": np.array,
            "returned": _returned, "build": traced.form.build,
        }  # fmt: skip
        """What the function reads."""
        self.key = key
        self.read = reader(key, native)
        """The leaves of arguments that have the key for which the program was made; None of others."""
        self.call: Callable[[Entry, list[Any]], Any] = self._called()
        """A function of this object and such leaves, which does not keep it alive: what the program gives.

        Raises:
            Unfit: it is not made for these values; nothing has been written.
        """

    def _is_tensor(self, i: int) -> bool:
        """Whether a leaf of the arguments is a Tensor."""
        return issubclass(self.key[FIRST + i][0], Tensor)

    # Whether it fits

    def _misfit(self) -> str:
        """Why what the function reads beside its arguments is not as it was; '' where it is."""
        t = self.traced
        if not t.closure.unchanged():
            return f"made again, because {next(t.closure.changes(), 'something')} has changed"
        for x, of_gradient, (shape, dtype, strides) in self._layouts:
            a = x._ndarray if isinstance(x, Tensor) and not of_gradient else None
            if a is not None and (a.shape != shape or a.dtype != dtype or a.strides != strides):
                return f"made again, because a tensor has shape {a.shape}, dtype {a.dtype} and strides {a.strides} now"
        for x, without, required, hooks in self._reached:
            if (x._grad is None) is not without:
                return "made again, because a gradient is there now, or no more"
            if bool(x._requires_grad) is not required:
                return "made again, because a tensor requires a gradient now, or no more"
            if x._hooks is not hooks:
                return "made again, because a tensor has a hook now"
        for x, of_gradient, (shape, dtype, strides) in self._layouts:
            if of_gradient and isinstance(x, Tensor):  # those of arguments are a part of the key
                a = cast(Tensor, x._grad)._ndarray
                if a.shape != shape or a.dtype != dtype or a.strides != strides:
                    return f"made again, because a gradient has dtype {a.dtype} and strides {a.strides} now"
        return ""

    def _refuse(self) -> None:
        """Say why, where it does not fit after all."""
        why = self._misfit()
        if why:
            raise Unfit(why, another=True)

    def _restepped(self) -> NoReturn:
        raise Unfit("made again, because the optimiser's state or options changed", another=True)

    def _require_apart(self, leaves: list[Any]) -> None:
        for where in self._left_at_arguments:
            if sum(x is leaves[where] for x in (*leaves, *self.traced.reached)) > 1:
                raise Unfit("a Tensor in which a gradient is left is given twice, or is closed over too")

    # The function

    def _called(self) -> Callable[[Entry, list[Any]], Any]:
        t, names = self.traced, self._names
        lines: list[str] = []
        for k, i in enumerate(t.arguments):
            lines.append(f"l{k} = leaves[{i}]{'._ndarray' if self._is_tensor(i) else ''}")
        lines += self._fits()
        arrays = [f"l{k}" for k in range(len(t.arguments))] + [f"a{k}" for k in range(len(self._layouts))]
        inputs = list(arrays)
        if self._left_at_arguments:
            lines.append("self._require_apart(leaves)")
        if t.steps is not None:
            names["steps"] = t.steps
            lines += [
                "found = steps.advanced()",
                "if found is None: self._restepped()",
                "values, after, buffers = found",
            ]
            inputs += ["*values", "*buffers"]
            arrays.append("*buffers")
        if self._memory is not None or t.written:
            lines.append(f"inputs = [{', '.join(inputs)}]")
            inputs = ["*inputs"]
        if self._memory is not None:
            lines.append("self._taken_out(inputs)")
        if t.written:  # it is writeable, and shares no memory
            names["differ"] = None if self._machine is None else self._machine.differ
            lines.append("if True:" if names["differ"] is None else f"if differ(({', '.join(arrays)},)):")
            lines += ["    if not steps.fits(buffers): self._restepped()"] if t.steps is not None else []
            lines.append("    self._make_writable(inputs)")
        lines += self._runs(", ".join(inputs))
        lines += self._leaves()
        exec("def call(self, leaves):\n" + "".join(f"    {line}\n" for line in lines), names)
        call: Callable[[Entry, list[Any]], Any] = names.pop("call")  # which would keep itself alive
        return call

    def _fits(self) -> list[str]:
        """The lines that see that what the function reads beside its arguments is as it was, and take it."""
        names, terms, taken, layouts = self._names, ["unchanged()"], [], []
        for k, (x, without, required, hooks) in enumerate(self._reached):
            names |= {f"r{k}": x, f"h{k}": hooks}
            terms += [f"r{k}._grad is {'' if without else 'not '}None", f"r{k}._hooks is h{k}"]
            terms.append(f"{'' if required else 'not '}r{k}._requires_grad")
        for k, (x, of_gradient, layout) in enumerate(self._layouts):
            names[f"x{k}"] = x
            where = f"leaves[{x}]" if isinstance(x, int) else f"x{k}"
            taken.append(f"a{k} = {where}{'._grad' if of_gradient else ''}._ndarray")
            if not isinstance(x, int):
                layouts.append((f"a{k}", layout))
        names["other"] = differ([layout for _, layout in layouts]) if self._machine is not None else None
        if names["other"] is not None:
            taken.append(f"if other(({''.join(f'{name}, ' for name, _ in layouts)})): self._refuse()")
        elif layouts:
            same = " and ".join(unchanged_text(name, layout, names) for name, layout in layouts)
            taken.append(f"if not ({same}): self._refuse()")
        return [f"if not ({' and '.join(terms)}): self._refuse()", *taken]

    def _runs(self, inputs: str) -> list[str]:
        """The lines that run the program. Where Python has a part in it, others may call it meanwhile, or it fails."""
        if self._machine is not None and self._machine.alone:
            return ["try:", f"    outputs = run({inputs})", "except Exception as error: self._unfit(error, ())",
                    "self.runs += 1"]  # fmt: skip
        states = "()"
        if self.traced.generators:
            self._names["generators"] = self.traced.generators
            states = "[generator.bit_generator.state for generator in generators]"
        return [
            'if self._running: raise Unfit("called from within itself, where its memory is in use")',
            f"states = {states}",
            "self._running = True",
            "try:",
            f"    outputs = context(run, {inputs})" if inputs else "    outputs = context(run)",
            "except Exception as error: self._unfit(error, states)",
            "finally: self._running = False",
            "self.runs += 1",
        ]

    def _leaves(self) -> list[str]:
        """The lines that return the results in their form, after all else that the function leaves behind."""
        t, names = self.traced, self._names
        count = len(t.kinds) + len(t.assigned) + sum(there for _, there in t.left)
        given = iter([f"o{k}" for k in range(count)])
        results = [
            y if kind == "array" else self._tensor(y) if kind == "tensor" else f"returned({kind!r}, {y})"
            for kind, y in zip(t.kinds, given)
        ]
        lines = [f"{', '.join(f'o{k}' for k in range(count))}, = outputs"] if count else []
        for i, (kind, k) in enumerate(t.written):
            if kind == "tensor" or (kind == "argument" and self._is_tensor(k)):
                name = f"w{i}" if kind == "tensor" else f"leaves[{k}]"
                names[f"w{i}"] = t.tensors[k] if kind == "tensor" else None
                lines += [
                    f"if {name}._params is None or {name}._params == REPLACED: {name}._number = clock()",
                    f"else: {name}.data = {name}._ndarray",  # which tells those who share its memory too
                ]
        for k, x in enumerate(t.assigned):
            names[f"d{k}"] = x
            lines.append(f"d{k}.data = array({next(given)})")
        for k, (place, there) in enumerate(t.left):
            names[f"g{k}"] = place
            target = f"leaves[{place}]" if isinstance(place, int) else f"g{k}"
            lines.append(f"{target}._grad = " + (self._tensor(next(given)) if there else "None"))
        if t.steps is not None:
            lines += [
                "for each, numbers in after:",
                "    for state in each: state.update(numbers)",
                "steps.optimizer.stepped = True",
            ]
        form = t.form
        flat = form.kind in (tuple, list) and all(child.kind is None for child in form.children)
        if form.kind is None:
            return [*lines, f"return {results[0]}"]
        if flat and form.kind is tuple and lines[1:] == [] and set(t.kinds) <= {"array"}:
            return ["return outputs"]
        build = "build" if not flat else "list" if form.kind is list else "tuple"
        return [*lines, f"return {build}([{', '.join(results)}])"]

    @staticmethod
    def _tensor(y: str) -> str:
        return f"wrap({y} if type({y}) is ndarray else array({y}))"

    # Rare

    def _taken_out(self, inputs: list[Any]) -> None:
        """Copies in place of inputs that lie in the program's memory."""
        for place, x in enumerate(inputs):
            if isinstance(x, np.ndarray) and np.may_share_memory(x, self._memory):
                if place in self._written_places:
                    raise Unfit("what it writes lies where its own results are; copy the result first, result.copy()")
                inputs[place] = x.copy()

    def _unfit(self, error: Exception, states: Any) -> NoReturn:
        for generator, state in zip(self.traced.generators, states):
            generator.bit_generator.state = state
        if isinstance(error, self._unmet):
            other = {"decided": "branch", "read": "number"}.get(str(error).partition(" ")[0])
            what = f"another {other} was {error}" if other else f"what is {error} did not hold"
            raise Unfit(what, other is not None) from None
        # The function itself says it better; nothing has been written yet.
        raise Unfit(f"a call failed: {error!r}") from None

    def _make_writable(self, inputs: list[Any]) -> None:
        t = self.traced
        for place in self._written_of_tensors:
            if isinstance(inputs[place], np.generic) or not inputs[place].flags.writeable:
                inputs[place] = t.tensors[place - len(t.arguments)]._ndarray = np.array(inputs[place])
        places = self._written_places
        written = [inputs[place] for place in places]
        arguments = [place for place in places if place < len(t.arguments)]
        if any([not isinstance(inputs[i], np.ndarray) or not inputs[i].flags.writeable for i in arguments]):
            raise Unfit("an argument that it writes is read-only")
        if len(written) != len(self._written) or not all(map(is_, written, self._written)):
            if any(np.may_share_memory(inputs[i], inputs[k]) for i in arguments for k in places if i != k):
                raise Unfit("what it writes shares its memory with something else that it writes")
            self._written, self._owners = [] if arguments else written, {id(_owner(b)) for b in written}
        for place in self._read_places:
            b = inputs[place]
            if isinstance(b, np.ndarray) and id(_owner(b)) in self._owners:
                if any([np.may_share_memory(a, b) for a in written]):
                    raise Unfit("what it writes shares its memory with something else that it reads")


_REPLACED: dict[str, Any] = {"digest": None}
"""What a Tensor notes whose array somebody else may have, and which was written last by who said so."""


def _owner(array: Any) -> Any:
    base = getattr(array, "base", None)
    return array if base is None else base


def _returned(kind: str, value: Any) -> Any:
    if kind == "array of one":
        return np.asarray(value)
    return value[()] if kind == "scalar" and isinstance(value, np.ndarray) else value
