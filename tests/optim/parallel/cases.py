"""Trainings, each a function of a communicator, or None for one process with everything. Run as a program under
mpiexec, the ones named as arguments go through twice, and rank 0 writes what they found into the file named first."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import autodiff as ad
import nn
import optim

rng = np.random.default_rng(0)
X = rng.normal(size=(101, 5))  # in batches of 10, the last one has a single sample: some rank has none
Y = (X @ rng.normal(size=(5, 3))).argmax(axis=1)
IGNORED = np.where(np.arange(101) % 4 == 0, -100, Y)
Found = dict[str, Any]


class Items:
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> Any:
        return X[i], Y[i]


def network(comm: Any, *extra: Any) -> Any:
    r = np.random.default_rng(1 if comm is None or comm.rank == 0 else 2)  # rank 0's are for all
    return nn.Sequential(nn.Linear(5, 8, rng=r), *extra, nn.Tanh(), nn.Linear(8, 3, rng=r)).to("float64")


def found(model: Any, history: Any = None) -> Found:
    state = {name: np.array(t.data) for name, t in model.state_dict().items()}
    return state | ({} if history is None else {name: history[name] for name in history.to_dict()})


def correct(output: Any, target: Any) -> float:
    return float((output.numpy().argmax(axis=1) == np.asarray(target)).mean())


def adam(comm: Any, **options: Any) -> Found:
    model = network(comm)
    loss = nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0])
    history = optim.fit(
        model, loss, (X, IGNORED), optimizer=optim.Adam(model.parameters(), lr=0.05), epochs=2, batch_size=10,
        rng=None if comm is not None and comm.rank else 3, validation=(X[:33], Y[:33]),
        metrics={"accuracy": "accuracy", "correct": correct}, comm=comm, **options,
    )  # fmt: skip
    return found(model, history)


def everything(comm: Any) -> Found:
    model = network(comm)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    history = optim.fit(
        model, nn.CrossEntropyLoss(), Items(), optimizer=optimizer, epochs=30, batch_size=10, rng=3, accumulate=3,
        validation=(X[:33], 2 - Y[:33]),
        scheduler=optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=0, factor=0.1 if comm is None or comm.rank == 0 else 0.5
        ),
        penalty=lambda model: nn.penalty.l2(model, 1e-2), clip_norm=0.1, clip_value=0.05, ema=0.9, patience=2, comm=comm,
    )  # fmt: skip
    assert history.stopped == "patience" and len(history) < 30
    return found(model, history)


def lbfgs(comm: Any) -> Found:
    model = network(comm)
    optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=5)
    return found(model, optim.fit(model, nn.CrossEntropyLoss(), (X, IGNORED), optimizer=optimizer, epochs=2,
                                  batch_size=None, rng=3, comm=comm))  # fmt: skip


def curved(comm: Any) -> Found:
    results = {}
    for name, optimizer_of in {
        "HessianFree": lambda params: optim.HessianFree(params, weight_decay=1e-2),
        "NewtonCG": lambda params: optim.NewtonCG(params, damping=1e-2),
        "Newton": lambda params: optim.Newton(params, damping=1.0),
        "NaturalGradient": lambda params: optim.NaturalGradient(params, 1.0, 0.1, weight_decay=1e-2),
        "empirical": lambda params: optim.NaturalGradient(params, 1.0, 0.1, kind="empirical", cg_tol=1e-9),
        "KFAC": lambda params: optim.KFAC(params, kind="exact", every=2, weight_decay=1e-2),
    }.items():
        model = network(comm)
        history = optim.fit(model, nn.CrossEntropyLoss(), (X, IGNORED), optimizer=optimizer_of(model.parameters()), epochs=2,
                            batch_size=None, penalty=lambda model: nn.penalty.l2(model, 1e-2), rng=3, comm=comm)  # fmt: skip
        results |= {f"{name} {key}": value for key, value in found(model, history).items()}
    return results


def curvature(comm: Any) -> Found:
    model, loss = nn.Sequential(nn.Linear(5, 3, rng=np.random.default_rng(0))).to("float64"), nn.CrossEntropyLoss()
    batches = [(X[:50], IGNORED[:50]), (X[50:70], Y[50:70]), (X[70:], Y[70:])]
    own = batches if comm is None else batches[comm.rank :: comm.size]
    options = {"batches": own, "damping": 0.1, "count": lambda x, y: loss.count(y), "comm": comm}
    H = ad.curvature.Hessian(lambda x, y: loss(model(x), y), model.parameters(), **options)
    G = ad.curvature.GaussNewton(lambda x, y: model(x), lambda z, x, y: loss(z, y), model.parameters(), **options)
    v = np.random.default_rng(1).normal(size=(H.shape[0], 2))
    said = ""
    if comm is not None:
        try:
            H @ (v[:, 0] + comm.rank)
        except ValueError as error:
            said = str(error)
        assert "Hessian: the ranks disagree: the checksum of the vectors is" in said
    trace = ad.curvature.trace(H, num_probes=8, rng=0)
    z = lambda x, y: model(x)
    params, own_loss = list(model.parameters()), lambda z, x, y: loss(z, y)
    F = ad.curvature.Fisher(z, own_loss, params, kind="empirical", **options)
    K, E = (kind(z, None, params, **options) for kind in (ad.curvature.KFAC, ad.curvature.EKFAC))
    whole = ad.curvature.Hessian(lambda: loss(model(X), Y), params)  # of all data on every rank
    divided = ad.curvature.xtrace(whole, 10, rng=0, comm=comm), ad.curvature.spectral_density(whole, 4, 5, 0, comm=comm)
    return {
        "F": F @ v,
        "K": K @ v,
        "E": E.inverse() @ v,
        "noise": ad.curvature.gradient_noise(model, loss, own, comm=comm).trace,
        "xtrace": divided[0].value,
        "density": divided[1].density,
        "H": H @ v,
        "G": G @ v,
        "value": H.value,
        "gradient": H.gradient,
        "diagonal": G.diagonal(),
        "trace": trace.value,
    }


def rates(comm: Any) -> Found:
    model = network(comm)
    seen = optim.lr_find(model, nn.CrossEntropyLoss(), (X, IGNORED), optimizer=optim.SGD(model.parameters(), lr=0.1),
                         end=100.0, steps=30, batch_size=10, rng=3, comm=comm)  # fmt: skip
    return {"suggestion": seen.suggestion, "losses": seen.losses}


def compiled(comm: Any) -> Found:
    if comm is not None:
        model = network(comm)
        optimizer, data = optim.Adam(model.parameters(), lr=0.05), (X[:96], Y[:96])
        history = optim.fit(model, nn.CrossEntropyLoss(), data, optimizer=optimizer, epochs=3, batch_size=6, rng=3,
                            compile="numpy", comm=comm)  # fmt: skip
        assert "run as it is" not in history.compiled, history.compiled
    return adam(comm, compile="numpy")


def own_loop(comm: Any) -> Found:
    model = network(comm)
    optimizer, batches = optim.Adam(model.parameters(), lr=0.05), optim.batches(X, Y, 10, shuffle=True, rng=3)
    if comm is not None:
        optim.parallel.broadcast(model, comm)
        batches = optim.parallel.shard(batches, comm)
    for x, y in batches:
        optimizer.zero_grad()
        if len(x):
            nn.CrossEntropyLoss()(model(x), y).backward()
        if comm is not None:
            optim.parallel.average_gradients(model.parameters(), comm, weight=len(x))
        optimizer.step()
    return found(model)


class Epochs:
    """A callback with a state, which rank 0 alone has."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_epoch_end(self, state: Any) -> None:
        self.seen.append(state.epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def load_state_dict(self, state: Any) -> None:
        self.seen = list(state["seen"])


def checkpointed(comm: Any, folder: str = "", epochs: int = 2, callbacks: Any = ()) -> Found:
    model, own = network(comm), [Epochs()] if comm is None or comm.rank == 0 else []
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    history = optim.fit(model, nn.CrossEntropyLoss(), (X, Y), optimizer=optimizer, epochs=epochs, batch_size=10, rng=3,
                        ema=0.9, checkpoint=folder or None, resume=bool(folder), comm=comm, callbacks=[*own, *callbacks])  # fmt: skip
    assert all(callback.seen == list(range(1, epochs + 1)) for callback in own)
    return found(model, history)


# What has no counterpart in one process


def normalised(comm: Any) -> Found:
    model = network(comm, nn.BatchNorm1d(8))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optim.fit(
        model, nn.CrossEntropyLoss(), (X[:100], Y[:100]), optimizer=optimizer, epochs=1, batch_size=20, rng=3, comm=comm
    )
    return found(model)


def counted_buffers(comm: Any) -> Found:
    """Rank r has 4 r samples in each batch; the weights stay."""
    rows = np.random.default_rng(comm.rank).normal(size=(3, 4 * comm.rank, 5))
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3, rng=np.random.default_rng(1))).to("float64")
    model.register_buffer("table", ad.Tensor(TABLE))
    optim.fit(model, nn.CrossEntropyLoss(), [(x, Y[: len(x)]) for x in rows],
              optimizer=optim.SGD(model.parameters(), lr=0.0), epochs=1, comm=comm)  # fmt: skip
    return found(model)


TABLE = np.append(np.random.default_rng(0).normal(size=1000), [np.finfo(float).min, -np.inf])


def extended(comm: Any) -> Found:
    """More digits than double precision has, whose bytes have gaps."""
    model = network(comm).to("longdouble")
    optim.fit(
        model, nn.CrossEntropyLoss(), (X.astype("longdouble"), Y), optimizer=optim.SGD(model.parameters(), lr=0.1),
        epochs=1, rng=3, comm=comm,
    )  # fmt: skip
    return {name: array.astype(float) for name, array in found(model).items()}


def augmented(comm: Any) -> Found:
    model, seed = network(comm), None if comm.rank else 3
    optim.fit(model, nn.CrossEntropyLoss(), (X, Y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=1, rng=seed,
              augment=lambda x, y, rng: (x + rng.normal(size=x.shape), y), comm=comm)  # fmt: skip
    return found(model)


def stopped_by_one(comm: Any) -> Found:
    """Rank 1 alone has callbacks."""

    class Enough:
        def on_batch_end(self, state: Any) -> bool:
            return state.epoch == 2 and state.batch == 4

    lengths = []
    for callbacks in ([Enough()], [lambda state: state.epoch == 3]):
        model = network(comm)
        history = optim.fit(
            model, nn.CrossEntropyLoss(), (X, Y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=5,
            batch_size=10, rng=3, callbacks=callbacks if comm.rank == 1 else [], comm=comm,
        )  # fmt: skip
        assert history.stopped == "callback"
        lengths.append(len(history))
    return {"epochs": lengths}


def disagreements(comm: Any) -> Found:
    """What is said where ranks differ."""

    class Ending:
        """On rank 1, only three batches."""

        def __iter__(self) -> Iterator[Any]:
            return iter([(X[i::9], Y[i::9]) for i in range(3 if comm.rank else 4)])

    def spoil(state: Any) -> None:
        if comm.rank and state.epoch == 1:
            state.optimizer.param_groups[0]["lr"] = 1.0

    def freeze(state: Any) -> None:
        state.model[0].requires_grad_(not comm.rank)

    class Fewer(Items):
        def __len__(self) -> int:
            return len(X) - comm.rank

    def said(function: Callable[[], Any]) -> str:
        try:
            function()
        except ValueError as error:
            return str(error)
        return "nothing"

    def made(width: int = 8, layer: Any = nn.Tanh) -> Any:
        r = np.random.default_rng(1)
        model = nn.Sequential(nn.Linear(5, width, rng=r), layer(), nn.Linear(width, 3, rng=r)).to("float64")
        return model, optim.SGD(model.parameters(), lr=0.1)

    def tried(
        width: int = 8, layer: Any = nn.Tanh, data: Any = (X, Y), callbacks: Any = (), epochs: int = 2,
        loss: Any = nn.CrossEntropyLoss(), schedule: Any = None, **options: Any,
    ) -> str:  # fmt: skip
        model, optimizer = made(width, layer)
        return said(lambda: optim.fit(
            model, loss, data, optimizer=optimizer, epochs=epochs, rng=3, callbacks=callbacks,
            scheduler=schedule and schedule(optimizer), comm=comm, **options,
        ))  # fmt: skip

    def searched(**options: Any) -> str:
        model, optimizer = made()
        return said(
            lambda: optim.lr_find(model, nn.CrossEntropyLoss(), (X, Y), optimizer=optimizer, comm=comm, **options)
        )

    def averaged() -> str:
        model, _ = made()
        model[0].requires_grad_(not comm.rank)
        return said(lambda: optim.parallel.average_gradients(model.parameters(), comm))

    second, valid = bool(comm.rank), (X[:33], 2 - Y[:33])
    weights = optim.swa.EMA(made()[0].parameters(), 0.5 + 0.1 * comm.rank)

    return {
        "model": tried(width=8 + comm.rank),
        "epochs": tried(epochs=2 + comm.rank),
        "samples": tried(data=(X[: 80 - 40 * comm.rank], Y[: 80 - 40 * comm.rank])),
        "order": tried(data=(X[:: 1 - 2 * comm.rank], Y)),
        "batches": tried(data=Ending()),
        "weights": tried(callbacks=[spoil]),
        "frozen": tried(callbacks=[freeze]),
        "items": tried(data=Fewer()),
        "validation": tried(validation=(X[comm.rank :], Y[comm.rank :])),
        "rows": tried(validation=(X[:50], Y[:50]) if second else (X[50:100], Y[50:100])),
        "stopping": tried(validation=valid, epochs=9, patience=optim.EarlyStopping(2, strict=second)),
        "best": tried(validation=valid, restore_best_weights=second),
        "metrics": tried(metrics=["accuracy"] if second else ["accuracy", "f1_macro"]),
        "layer": tried(layer=nn.ReLU if second else nn.Tanh),
        "option": tried(loss=nn.CrossEntropyLoss(label_smoothing=0.1 * comm.rank)),
        "schedule": tried(
            schedule=lambda optimizer: None if second else optim.lr_scheduler.StepLR(optimizer, 1),
        ),
        "augment": tried(augment=(lambda x, y, rng: (2 * x, y)) if second else None),
        "ema": tried(ema=weights),
        "steps": searched(steps=10 + comm.rank),
        "rates": searched(end=10.0 + comm.rank),
        "gradients": averaged(),
    }


def failing(comm: Any, how: str) -> Found:
    def fail(x: Any, y: Any, rng: Any) -> Any:
        if comm.rank == 1:
            raise ArithmeticError("the dog ate the batch")
        return x, y

    model = network(comm)
    optim.fit(model, nn.CrossEntropyLoss(), (X, Y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=5,
              augment=fail, comm=comm)  # fmt: skip
    return {}


def killed(comm: Any, folder: str) -> Found:
    def end(state: Any) -> None:
        if comm.rank == 1 and state.epoch == 3:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)

    return checkpointed(comm, folder, 5, callbacks=[end])


if __name__ == "__main__":
    from mpi4py import MPI

    world, results = MPI.COMM_WORLD, {}
    for name in sys.argv[2:]:
        name, _, argument = name.partition("=")
        arguments = [argument] if argument else []
        one = globals()[name](world, *arguments)
        again = one if argument else globals()[name](world)
        assert pickle.dumps(one) == pickle.dumps(again), f"{name}: two runs differ"
        assert len(set(world.allgather(pickle.dumps(one)))) == 1, f"{name}: ranks differ"
        results[name] = one
    if world.rank == 0:
        with open(sys.argv[1], "wb") as file:
            pickle.dump(results, file)
