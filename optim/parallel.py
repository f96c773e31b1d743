"""Training on several processes, each with a part of the data: what is the same on all of them is made so here.

First the three functions for loops of one's own, then `Averaging`, which sends gradients while others are still being
computed, last what `fit` needs beside: `begin_alike`, `Ranks`, and `ending_all` for errors.
"""

from __future__ import annotations

import functools
import operator
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from autodiff import Tensor
from autodiff.data import Changed, common_length, is_data_set, leaves, rows
from autodiff.devices import as_numpy, place_of, put
from autodiff.ranks import Disagreement, fingerprint, part, require_communicator, require_same, sum_over_ranks
from autodiff.tensor import plain, wrap
from autodiff.transforms.flat import listed

from .array import Array

F = TypeVar("F", bound=Callable[..., Any])

BUCKET = 1 << 20
"""Bytes of gradients that travel together, at least (a parameter is not divided)."""


def broadcast(model: Any, comm: Any) -> None:
    """Give all ranks the weights and buffers of rank 0, in place.

    Args:
        model: with ``state_dict()`` and ``load_state_dict()``, or an iterable of parameters.
        comm: a communicator of mpi4py.

    Raises:
        TypeError, ValueError: for anything else, and for no parameters.
        autodiff.ranks.Disagreement: for other names, shapes or dtypes on another rank; on all ranks.

    >>> from mpi4py import MPI  # doctest: +SKIP
    >>> broadcast(model, MPI.COMM_WORLD)  # doctest: +SKIP
    """
    require_communicator(comm, "broadcast")
    module = hasattr(model, "load_state_dict")
    state = (
        model.state_dict() if module else {f"parameter {i}": p for i, p in enumerate(_parameters("broadcast", model))}
    )
    odd = next((type(t).__name__ for t in state.values() if not hasattr(t, "shape")), None)
    if odd is not None:
        raise TypeError(f"broadcast: takes a model or parameters; {type(model).__name__} has a {odd} in its state")
    require_same({name: (t.shape, str(t.dtype)) for name, t in state.items()}, comm, "broadcast")
    values = {name: comm.bcast(np.array(as_numpy(tensor))) for name, tensor in state.items()}
    if module:
        model.load_state_dict(values)
    else:
        for name, tensor in state.items():
            tensor.data = put(values[name], place_of(plain(tensor)))


def shard(data: Any, comm: Any) -> Any:
    """This rank's part of data that are the same on all ranks.

    Args:
        data: arrays of N samples, or nested tuples of them: this rank's rows, views, N/size of them and no more than
            one more than on another rank. A data set (a length, items, no iterator): likewise. What `batches` returns,
            or another iterable of pairs (x, y): the same batches, and of each this rank's rows, so that all ranks
            together go through them as one process does (with the same generator on all ranks).
        comm: a communicator of mpi4py.

    Raises:
        TypeError, ValueError: for anything else, for arrays of different lengths, and for no samples.

    >>> class Second:  # of three
    ...     rank, size, Allreduce, allgather = 1, 3, None, None
    >>> shard((np.arange(7), np.arange(7) ** 2), Second())
    (array([2, 3]), array([4, 9]))
    """
    require_communicator(comm, "shard")
    if hasattr(data, "part"):
        return data.part(comm.rank, comm.size)
    if is_data_set(data):
        return _Part(data, range(len(data))[part(len(data), comm)])
    if isinstance(data, (tuple, np.ndarray, Tensor)):
        arrays = rows(data, "shard: data")
        common_length({"data": arrays}, "shard")
        return _cut(arrays, comm)
    if isinstance(data, (Mapping, str)) or not isinstance(data, Iterable):
        raise TypeError(f"shard: takes arrays, tuples of them, a data set or batches (x, y), not {type(data).__name__}")
    return Changed(data, lambda x, y: (_cut(x, comm), _cut(y, comm)), "shard")


def average_gradients(params: Iterable[Tensor], comm: Any, weight: float = 1.0) -> None:
    """Replace each ``.grad`` by its mean over the ranks::

        g = Σ_r w_r g_r / Σ_r w_r

    Args:
        params: the same parameters in the same order on all ranks. Where one has no gradient on a rank, that counts as
            zeros; where it has none on any, it stays None.
        comm: a communicator of mpi4py.
        weight: w of this rank, at least 0: the number of samples of which its loss is the mean, if they are not as many
            on all ranks.

    Raises:
        TypeError, ValueError: for anything but Tensors, and for none.
        ValueError: for a weight out of range, and if all weights are 0.
        autodiff.ranks.Disagreement: where parameters have other shapes or dtypes on another rank, or require no
            gradient there; on all ranks.

    >>> loss.backward()  # doctest: +SKIP
    >>> optim.parallel.average_gradients(model.parameters(), comm, weight=len(x))  # doctest: +SKIP
    >>> optimizer.step()  # doctest: +SKIP
    """
    require_communicator(comm, "average_gradients")
    params = _parameters("average_gradients", params)
    kinds = [(p.shape, str(p.dtype), p.requires_grad) for p in params]
    require_same({"(shape, dtype, requires_grad) of the parameters": kinds}, comm, "average_gradients")
    total = sum(comm.allgather(float(weight) if 0 <= weight < np.inf else np.nan))
    if not total > 0:
        raise ValueError(f"average_gradients: weights are at least 0, and not all 0; their sum is {total}")
    averaging = Averaging(params, comm)
    averaging.weigh(float(weight), total)
    averaging()


class Averaging:
    """Means of gradients over ranks, in flat buckets, from the last parameter to the first.

    `weigh` says how much this rank's next gradients count; a backward pass inside ``with averaging.overlapped():``
    sends each bucket as soon as its gradients are complete; calling the object sends the rest, waits, and leaves the
    means in ``.grad``. Buckets leave in the same order on all ranks, whatever the order in which they fill.

    Args:
        params: parameters, the same on all ranks.
        comm: a communicator of mpi4py.
    """

    def __init__(self, params: list[Tensor], comm: Any) -> None:
        self.params, self.comm = params, comm
        self.local = self.total = 0.0
        self._kinds: Any = None
        self._open = False

    def weigh(self, weight: float, total: float) -> None:
        """A batch counts so much on this rank, and so much on all together."""
        self.local += weight
        self.total += total

    def mean(self, value: float) -> float:
        """The mean over the ranks of what they found for what they weighed."""
        return float(sum_over_ranks(self.share * value if self.share else 0.0, self.comm))

    @property
    def share(self) -> float:
        """How much this rank counts in the mean."""
        return self.local / self.total

    def clear(self) -> None:
        """What was weighed is done."""
        self.local = self.total = 0.0

    @contextmanager
    def overlapped(self) -> Iterator[None]:
        """Inside, gradients are sent while others are computed."""
        self._begin()
        handles = [p.register_hook(_Taking(self, i)) for i, p in enumerate(self.params) if p.requires_grad]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __call__(self) -> None:
        """Replace the gradients by their means."""
        if not self._open:
            self._begin()
        for bucket in self._buckets:
            for i in sorted(bucket.missing):
                g = self.params[i].grad
                bucket.fill(i, None if g is None else plain(g), self.share)
            bucket.missing.clear()
        self._send()
        for bucket in self._buckets:
            for i, mean in bucket.received():
                p = self.params[i]
                there = place_of(plain(p))
                p.grad = None if mean is None else wrap(put(mean.astype(p.dtype).reshape(p.shape), there))
        self._open = False

    def _begin(self) -> None:
        kinds = [(p.requires_grad, p.shape, p.dtype) for p in self.params]
        if kinds != self._kinds:
            self._kinds, self._buckets = kinds, []
            last: dict[Any, dict[int, int]] = {}
            for i in reversed(range(len(kinds))):
                needed, shape, dtype = kinds[i]
                if not needed:
                    continue
                dtype = np.result_type(dtype, np.float32)
                sizes = last.setdefault(dtype, {})
                sizes[i] = int(np.prod(shape))
                if sum(sizes.values()) * dtype.itemsize >= BUCKET:
                    self._buckets.append(_Bucket(last.pop(dtype), dtype))
            self._buckets += [_Bucket(sizes, dtype) for dtype, sizes in last.items()]
            self._of = {i: bucket for bucket in self._buckets for i in bucket.places}
        for bucket in self._buckets:
            bucket.missing = set(bucket.places)
        self._sent, self._open = 0, True

    def take(self, i: int, g: Tensor) -> None:
        """The gradient of a parameter is complete."""
        bucket = self._of[i]
        bucket.fill(i, plain(g), self.share)
        bucket.missing.discard(i)
        self._send()

    def _send(self) -> None:
        for bucket in self._buckets[: self._sent]:
            bucket.request.Test()  # without this nothing moves while we compute
        while self._sent < len(self._buckets) and not self._buckets[self._sent].missing:
            self._buckets[self._sent].send(self.comm)
            self._sent += 1


class _Taking:
    """A hook of one parameter."""

    only_reads = True

    def __init__(self, averaging: Averaging, i: int) -> None:
        self.averaging, self.i = averaging, i

    def __call__(self, g: Tensor) -> None:
        self.averaging.take(self.i, g)


class _Bucket:
    """Gradients one after another, and for each whether it is there."""

    def __init__(self, sizes: Mapping[int, int], dtype: Any) -> None:
        ends = np.cumsum(list(sizes.values())).tolist()
        self.places = {i: slice(end - size, end) for (i, size), end in zip(sizes.items(), ends)}
        self.flags = {i: ends[-1] + at for at, i in enumerate(sizes)}
        self.sent, self.sum = np.zeros((2, ends[-1] + len(sizes)), dtype)
        self.missing: set[int] = set()
        self.request: Any = None

    def fill(self, i: int, g: Any, share: float) -> None:
        here = g is not None and share > 0
        self.sent[self.flags[i]] = here
        if here:
            np.multiply(as_numpy(g).reshape(-1), self.sent.dtype.type(share), out=self.sent[self.places[i]])
        else:
            self.sent[self.places[i]] = 0

    def send(self, comm: Any) -> None:
        self.request = comm.Iallreduce(self.sent, self.sum)

    def received(self) -> Iterator[tuple[int, Array | None]]:
        self.request.Wait()
        for i, place in self.places.items():
            yield i, self.sum[place] if self.sum[self.flags[i]] else None


def begin_alike(
    where: str, comm: Any, model: Any, loss: Any, optimizer: Any, rng: Any, data: Mapping[str, Any], train: Any,
    scheduler: Any = None, **arguments: Any,
) -> None:  # fmt: skip
    """Raise `Disagreement` unless the ranks train the same; give all what rank 0 begins with.

    Args:
        where: begins the messages of errors.
        comm: a communicator of mpi4py.
        model, loss, optimizer, rng, scheduler: of the training.
        data: what was given, by name; of arrays and data sets, each rank takes a part.
        train: the batches made of it.
        arguments: what else is the same on all ranks, by name.
    """
    kinds = {"model": model, "loss": loss, "optimizer": optimizer, "scheduler": scheduler}
    arguments |= {name: type(value).__name__ for name, value in kinds.items()}
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for i, p in enumerate(trained):
        arguments[f"parameter {i} (shape, dtype, requires_grad)"] = (p.shape, str(p.dtype), p.requires_grad)
    arguments["the number of batches"] = operator.length_hint(train, -1)
    for name, given in data.items():
        arrays = leaves(given) if isinstance(given, tuple) else []
        if arrays or is_data_set(given):
            arguments[f"the number of samples of {name}"] = len(arrays[0] if arrays else given)
        arguments |= {f"the checksum of array {i} of {name}": fingerprint(a) for i, a in enumerate(arrays)}
    require_same(arguments, comm, where)
    broadcast(model, comm)
    if hasattr(loss, "state_dict"):
        broadcast(loss, comm)
    broadcast(trained, comm)
    # What they say of their layers and options, now that their numbers are the same.
    require_same({"the model": model, "the loss": loss}, comm, where)
    owners = [owner for owner in (scheduler, optimizer) if owner is not None]
    states, rng.bit_generator.state = comm.bcast(([owner.state_dict() for owner in owners], rng.bit_generator.state))
    if comm.rank:
        for owner, state in zip(owners, states):
            owner.load_state_dict(state)


class Ranks:
    """What a training on several ranks exchanges beside gradients.

    Args:
        comm: a communicator of mpi4py.
        where: begins the messages of errors.
    """

    def __init__(self, comm: Any, where: str) -> None:
        self.comm, self.where = comm, where

    def meet(
        self, weight: float | None, place: str, stop: bool, params: Iterable[Tensor], all_of: bool = False
    ) -> tuple[float, bool]:  # fmt: skip
        """Before a batch (a weight of None: there are no more): the weights' sum, and whether some rank wants to stop.

        Raises:
            Disagreement: if some ranks have a batch and others have none, or the parameters require gradients here and
                none there; with `all_of`, also if some have a weight of 0 and others have not.
        """
        frozen = crc32(bytes([p.requires_grad for p in params]))
        own = np.array([weight is not None, weight or 0.0, stop, frozen], float)
        found = np.empty((self.comm.size, 4))
        self.comm.Allgather(own, found)
        others = np.flatnonzero(found[:, 3] != found[0, 3])
        if len(others):
            raise Disagreement(
                f"{self.where}: in {place}, rank {others[0]} has frozen other parameters (requires_grad) than rank 0; "
                f"callbacks freeze and unfreeze on all ranks alike"
            )
        ended = np.flatnonzero(found[:, 0] == 0)
        if 0 < len(ended) < self.comm.size and not found[:, 2].any():
            raise Disagreement(
                f"{self.where}: the data of rank{'s' * (len(ended) > 1)} {', '.join(map(str, ended))} ended before "
                f"{place}, which other ranks have; give all ranks as many batches (optim.parallel.shard cuts them so)"
            )
        idle = np.flatnonzero(found[:, 1] == 0)
        if all_of and 0 < len(idle) < self.comm.size:
            raise Disagreement(
                f"{self.where}: rank {idle[0]} has no sample that counts in {place}, and an optimiser with "
                f"curvature needs some on every rank; give a batch_size that leaves no small rest, or None"
            )
        return float(found[:, 1].sum()), bool(found[:, 2].any())

    def any(self, answer: bool) -> bool:
        """Whether some rank says so."""
        return any(self.comm.allgather(bool(answer)))

    def require_same_weights(self, named: Mapping[str, Tensor], place: str) -> None:
        """Raise `Disagreement` if parameters are not the same, to the last bit."""
        require_same(
            {f"the checksum of {name}": fingerprint(p) for name, p in named.items()}, self.comm,
            f"{self.where}: {place}", "all ranks need the same model, loss and optimiser, and callbacks that change "
            "them alike",
        )  # fmt: skip

    def average_buffers(self, model: Any, samples: int) -> None:
        """Replace buffers that are not the same on all ranks: floating-point numbers by their means, weighted by the
        `samples` of each rank, others by those of the rank that had most."""
        buffers = list(getattr(model, "buffers", tuple)())
        found = self.comm.allgather((samples, [fingerprint(buffer) for buffer in buffers]))
        counts = [count for count, _ in found]
        for buffer, checksums in zip(buffers, zip(*(checksums for _, checksums in found))):
            if len(set(checksums)) == 1:
                continue
            array = as_numpy(buffer)
            if buffer.dtype.kind in "fc":
                wide = array.astype(np.result_type(array, np.float32))
                own = samples / sum(counts) * wide if samples else np.zeros_like(wide)
                mean = sum_over_ranks(own, self.comm).astype(array.dtype)
                buffer.data = put(mean, place_of(plain(buffer)))
            else:
                buffer.data = put(self.comm.bcast(array, counts.index(max(counts))), place_of(plain(buffer)))


def ending_all(train: F) -> F:
    """Decorator of a function with ``comm=``: an exception on one rank, for which the others would wait for ever, ends
    all of them, after its traceback; one that is raised on all ranks is raised."""

    @functools.wraps(train)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        comm = kwargs.get("comm")
        require_communicator(comm, train.__name__)
        try:
            return train(*args, **kwargs)
        except Disagreement:
            raise
        except BaseException:
            if comm is None or comm.size == 1:
                raise
            sys.stdout.flush()
            print(f"{train.__name__}: rank {comm.rank} of {comm.size} ends all:", file=sys.stderr)
            traceback.print_exc()
            sys.stderr.flush()
            comm.Abort(1)
            raise

    return wrapped  # type: ignore[return-value]


class _Part:
    """Some of the items of a data set."""

    def __init__(self, data: Any, places: range) -> None:
        self.data, self.places = data, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Any:
        return self.data[self.places[i]]


def _parameters(where: str, params: Any) -> list[Tensor]:
    found = listed(where, params)
    if not found:
        raise ValueError(f"{where}: got no parameters; a generator can be gone through only once, keep a list")
    return found


def _cut(value: Any, comm: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_cut(item, comm) for item in value)
    if isinstance(value, Mapping):
        return {key: _cut(item, comm) for key, item in value.items()}
    return value[part(len(value), comm)]
