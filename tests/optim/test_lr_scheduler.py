"""Every schedule against PyTorch's over 100 epochs, and those it lacks against their formulas."""

import json
import math
import warnings

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from optim import lr_scheduler
from tests.documents import ENTRIES

CASES = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda t: 0.9**t),
    "LambdaLR, one for each group": lambda m, o: m.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (t + 1)]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda t: 0.95),
    "StepLR": lambda m, o: m.StepLR(o, 7, 0.3),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [10, 3, 10, 50], 0.5),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.97),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 40, 2.0),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.2, 6),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 0.9, 20),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 13, 0.001),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 5, 2, 0.001),
    "CosineAnnealingWarmRestarts, equal periods": lambda m, o: m.CosineAnnealingWarmRestarts(o, 7),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.01, 0.2, 7, 5),
    "CyclicLR, triangular2": lambda m, o: m.CyclicLR(o, [0.01, 0.02], [0.2, 0.4], 7, mode="triangular2"),
    "CyclicLR, exp_range": lambda m, o: m.CyclicLR(o, 0.01, 0.2, 7, mode="exp_range", gamma=0.99, cycle_momentum=False),
    "CyclicLR, own": lambda m, o: m.CyclicLR(o, 0.01, 0.2, 7, scale_fn=lambda x: 0.99**x, scale_mode="iterations"),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.3, 100),
    "OneCycleLR, three phases": lambda m, o: m.OneCycleLR(
        o, 0.3, epochs=10, steps_per_epoch=10, three_phase=True, anneal_strategy="linear"
    ),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=5), m.CosineAnnealingLR(o, 20), m.ExponentialLR(o, 0.9)], [5, 40]
    ),
    "SequentialLR with restarts": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 4), m.StepLR(o, 5), m.CosineAnnealingWarmRestarts(o, 4)], [6, 30]
    ),
    "SequentialLR of those that go on from the rate there is": lambda m, o: m.SequentialLR(
        o, [m.ExponentialLR(o, 0.9), m.MultiplicativeLR(o, lambda t: 0.95)], [5]
    ),
    "SequentialLR, the first one skipped": lambda m, o: m.SequentialLR(o, [m.LinearLR(o), m.StepLR(o, 3)], [0]),
    "SequentialLR with cycles": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 5), m.CyclicLR(o, 0.1, 0.3, 4), m.OneCycleLR(o, 0.3, 90)], [5, 20]
    ),
    "ChainedScheduler of a SequentialLR": lambda m, o: m.ChainedScheduler(
        [m.SequentialLR(o, [m.ConstantLR(o, 0.5, 3), m.StepLR(o, 4, 0.5)], [3]), m.ExponentialLR(o, 0.9)]
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler(
        [m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9), m.CosineAnnealingLR(o, 30)]
    ),
}


def ours(name="SGD", **options):
    a, b = ad.Tensor(1.0, requires_grad=True), ad.Tensor(1.0, requires_grad=True)
    return getattr(optim, name)([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1, **options)


def theirs(torch, name="SGD", **options):
    a, b = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    return getattr(torch.optim, name)([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1, **options)


def hyper(optimizer):
    return [(float(g["lr"]), g.get("momentum", 0), g.get("betas", (0, 0))[0]) for g in optimizer.param_groups]


@pytest.mark.parametrize("optimizer, options", [("SGD", {"momentum": 0.9}), ("Adam", {})])
@pytest.mark.parametrize("case", CASES)
def test_each_of_100_epochs_has_pytorchs_learning_rate_and_momentum(case, optimizer, options):
    torch = pytest.importorskip("torch")
    a, b = ours(optimizer, **options), theirs(torch, optimizer, **options)
    s, t = CASES[case](lr_scheduler, a), CASES[case](torch.optim.lr_scheduler, b)
    for _ in range(100):
        np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(s.get_last_lr(), [float(x) for x in t.get_last_lr()], rtol=1e-9, atol=1e-15)
        a.step(), b.step(), s.step(), t.step()


def in_order(m, o, e):
    return {
        "StepLR": lambda: m.StepLR(o, 7, 0.5, e),
        "MultiStepLR": lambda: m.MultiStepLR(o, [3, 10], 0.5, e),
        "ConstantLR": lambda: m.ConstantLR(o, 0.5, 8, e),
        "LinearLR": lambda: m.LinearLR(o, 0.1, 0.7, 20, e),
        "ExponentialLR": lambda: m.ExponentialLR(o, 0.9, e),
        "PolynomialLR": lambda: m.PolynomialLR(o, 20, 2.0, e),
        "CosineAnnealingLR": lambda: m.CosineAnnealingLR(o, 6, 0.01, e),
        "CosineAnnealingWarmRestarts": lambda: m.CosineAnnealingWarmRestarts(o, 4, 1, 0.01, e),
        "CyclicLR": lambda: m.CyclicLR(o, 0.1, 1.0, 4, 6, last_epoch=e),
        "OneCycleLR": lambda: m.OneCycleLR(o, 1.0, 60, last_epoch=e),
        "LambdaLR": lambda: m.LambdaLR(o, lambda t: 0.9**t, e),
        "MultiplicativeLR": lambda: m.MultiplicativeLR(o, lambda t: 0.9, e),
    }


RESUMED = list(in_order(None, None, None))


@pytest.mark.parametrize("name", RESUMED)
def test_taken_up_again_by_last_epoch_alone_it_is_pytorchs(name):
    torch = pytest.importorskip("torch")
    for trained in (1, 5, 12):
        found = []
        for make, module in ((ours, lr_scheduler), (lambda **kw: theirs(torch, **kw), torch.optim.lr_scheduler)):
            optimizer = make(momentum=0.9)
            schedule = in_order(module, optimizer, -1)[name]()
            for _ in range(trained):
                optimizer.step(), schedule.step()
            fresh = make(momentum=0.9)
            fresh.load_state_dict(optimizer.state_dict())
            schedule, rates = in_order(module, fresh, trained - 1)[name](), [hyper(fresh)]
            assert schedule.last_epoch == trained
            for _ in range(12):
                fresh.step(), schedule.step()
                rates.append(hyper(fresh))
            found.append(rates)
        np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.parametrize(
    "name", [*RESUMED, "CosineAnnealingWarmRestarts, longer and longer", "InverseTimeLR", "WarmupLR"]
)
def test_taken_up_again_by_last_epoch_alone_it_goes_on_as_if_never_stopped(name):
    def make(optimizer, e):
        own = {
            "CosineAnnealingWarmRestarts, longer and longer": lambda: lr_scheduler.CosineAnnealingWarmRestarts(
                optimizer, 3, 2, last_epoch=e
            ),
            "InverseTimeLR": lambda: lr_scheduler.InverseTimeLR(optimizer, 0.1, e),
            "WarmupLR": lambda: lr_scheduler.WarmupLR(optimizer, 9, e),
        }
        return {**in_order(lr_scheduler, optimizer, e), **own}[name]()

    whole = ours(momentum=0.9)
    schedule = make(whole, -1)
    for trained in range(1, 25):
        whole.step(), schedule.step()
        fresh = ours(momentum=0.9)
        fresh.load_state_dict(whole.state_dict())
        make(fresh, np.int64(trained - 1))
        np.testing.assert_allclose(hyper(fresh), hyper(whole), rtol=1e-12)


def test_schedules_of_schedules_may_contain_each_other():
    def make(o):
        inner = lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.2, 1, 4), lr_scheduler.ExponentialLR(o, 0.9)], [4]
        )
        chain = lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 3, 0.5), lr_scheduler.ExponentialLR(o, 0.8)])
        return lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o, 0.1, 9), inner, chain], [2, 9])

    expected = (
        [0.1] * 2 + [0.2, 0.4, 0.6, 0.8] + [0.9**t for t in range(3)] + [0.5 ** (t // 3) * 0.8**t for t in range(8)]
    )
    np.testing.assert_allclose(rates(make, 17, lr=1.0), expected, rtol=1e-12)


def test_groups_that_are_added_later_are_scheduled_as_in_pytorch():
    torch = pytest.importorskip("torch")
    for make in (
        lambda m, o: m.StepLR(o, 1, 0.5),
        lambda m, o: m.ExponentialLR(o, 0.5),
        lambda m, o: m.ReduceLROnPlateau(o, patience=0),
    ):
        a, b = ours(), theirs(torch)
        s, t = make(lr_scheduler, a), make(torch.optim.lr_scheduler, b)
        a.add_param_group({"params": [ad.Tensor(1.0, requires_grad=True)], "lr": 3.0})
        b.add_param_group({"params": [torch.tensor(1.0, requires_grad=True)], "lr": 3.0})
        for _ in range(3):
            a.step(), b.step()
            metric = [1.0] if "Plateau" in type(s).__name__ else []
            s.step(*metric), t.step(*metric)
            np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-12)
    optimizer = ours()
    schedule = lr_scheduler.LambdaLR(optimizer, lambda t: 0.5**t)
    optimizer.add_param_group({"params": [ad.Tensor(1.0, requires_grad=True)]})
    optimizer.step()
    with pytest.raises(ValueError, match=r"LambdaLR.*2 parameter groups.*has 3"):
        schedule.step()


def test_a_schedule_that_is_refused_leaves_the_optimiser_alone():
    optimizer = optim.Adagrad([ad.Tensor(1.0, requires_grad=True)], lr=0.123)
    before = dict(optimizer.param_groups[0])
    for make in (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR):
        with pytest.raises(ValueError, match="momentum"):
            make(optimizer, 1.0, 10)
        assert optimizer.param_groups[0] == before


def test_a_constant_factor_of_nothing_ends():
    assert rates(lambda o: lr_scheduler.ConstantLR(o, 0.0, 2), 4, lr=0.5).tolist() == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize("options", [
    {}, {"mode": "max", "patience": 2, "cooldown": 3, "threshold": 0.1},
    {"threshold_mode": "abs", "patience": 1, "min_lr": [0.01, 0.2], "factor": 0.3},
    {"mode": "max", "threshold_mode": "abs", "patience": 0, "eps": 1e-3},
])  # fmt: skip
def test_a_plateau_is_seen_where_pytorch_sees_it(options):
    torch = pytest.importorskip("torch")
    a, b = ours(), theirs(torch)
    s, t = lr_scheduler.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    rng = np.random.default_rng(0)
    for i in range(100):
        metric = rng.normal() + 3 / (i + 1)
        s.step(metric), t.step(metric)
        np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-12)


def test_restarts_take_fractions_of_an_epoch_as_pytorch():
    torch = pytest.importorskip("torch")
    for periods in (1, 2, 3):
        a, b = ours(), theirs(torch)
        s = lr_scheduler.CosineAnnealingWarmRestarts(a, 4, periods)
        t = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(b, 4, periods)
        for epoch in np.arange(0, 30, 0.3):
            s.step(float(epoch)), t.step(float(epoch))
            np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-9)


def rates(make, n, **options):
    optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], **options)
    schedule, found = make(optimizer), []
    for _ in range(n):
        found += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    return np.array(found)


def test_the_documents_schedules():
    entry = ENTRIES["learning-rate-schedules"]
    given, expected = entry["inputs"], entry["expected"]
    lr, step, cosine = given["eta0"], given["step"], given["cosine"]
    decay, inverse = given["exponential"], given["inverse_time"]
    found = {
        "step": rates(lambda o: lr_scheduler.StepLR(o, step["s"], step["drop"]), 201, lr=lr)[step["t"]],
        "exponential": rates(lambda o: lr_scheduler.ExponentialLR(o, math.exp(-decay["lambda"])), 201, lr=lr)[decay["t"]],
        "inverse_time": rates(lambda o: lr_scheduler.InverseTimeLR(o, inverse["lambda"]), 201, lr=lr)[inverse["t"]],
        "cosine": rates(lambda o: lr_scheduler.CosineAnnealingLR(o, cosine["T"]), 201, lr=lr)[cosine["t"]],
        "cosine_with_restarts_every_100": rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, cosine["T"]), 201, lr=lr)[cosine["t"]],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-12, err_msg=name)


def test_those_pytorch_lacks_are_their_formulas():
    t = np.arange(50)
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.InverseTimeLR(o, 0.3), 50, lr=0.2), 0.2 / (1 + 0.3 * t))
    np.testing.assert_allclose(
        rates(lambda o: lr_scheduler.WarmupLR(o, 8), 50, lr=0.2), 0.2 * np.minimum(1, (t + 1) / 8)
    )


ORDERS = ["made, optimiser, schedule", "made, schedule, optimiser", "optimiser, made, schedule"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", [c for c in CASES if "Lambda" not in c and "own" not in c])
def test_a_snapshot_through_json_continues_to_the_bit_in_whatever_order_it_is_loaded(case, order):
    def run(stop):
        optimizer, found = ours(momentum=0.9), []
        schedule = CASES[case](lr_scheduler, optimizer)
        for i in range(60):
            if i == stop:
                states = json.loads(json.dumps([optimizer.state_dict(), schedule.state_dict()]))
                optimizer = ours(momentum=0.9)
                for what in order.split(", "):
                    if what == "made":
                        schedule = CASES[case](lr_scheduler, optimizer)
                    elif what == "optimiser":
                        optimizer.load_state_dict(states[0])
                    else:
                        schedule.load_state_dict(states[1])
            found.append((hyper(optimizer), schedule.get_last_lr()))
            optimizer.step()
            schedule.step()
        return found

    whole = run(-1)
    for stop in (3, 23):
        assert run(stop) == whole


@pytest.mark.parametrize("case", CASES)
def test_pytorchs_snapshots_continue_here_as_there(case):
    torch = pytest.importorskip("torch")
    for trained in (0, 4, 25):
        b = theirs(torch, momentum=0.9)
        t = CASES[case](torch.optim.lr_scheduler, b)
        for _ in range(trained):
            b.step(), t.step()
        a = ours(momentum=0.9)
        s = CASES[case](lr_scheduler, a)
        s.load_state_dict(t.state_dict()), a.load_state_dict(b.state_dict())
        for _ in range(30):
            np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-9, atol=1e-15)
            a.step(), b.step(), s.step(), t.step()


def test_pytorchs_snapshot_of_a_chain_inside_a_sequence_continues_here_as_there():
    torch = pytest.importorskip("torch")

    def made(m, o):
        chain = m.ChainedScheduler([m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9)])
        return m.SequentialLR(o, [chain, m.StepLR(o, 2)], [5])

    a, b = ours(), theirs(torch)
    s, t = made(lr_scheduler, a), made(torch.optim.lr_scheduler, b)
    for _ in range(3):
        b.step(), t.step()
    s.load_state_dict(t.state_dict()), a.load_state_dict(b.state_dict())
    for _ in range(6):
        np.testing.assert_allclose(hyper(a), hyper(b), rtol=1e-12)
        a.step(), b.step(), s.step(), t.step()


def test_pytorchs_snapshots_bring_their_own_options_and_those_of_another_schedule_are_refused():
    torch = pytest.importorskip("torch")
    m = torch.optim.lr_scheduler
    b, a = theirs(torch, momentum=0.9), ours(momentum=0.9)
    cycle = lr_scheduler.CyclicLR(a, 0.01, 0.2, 7)
    cycle.load_state_dict(m.CyclicLR(b, 0.01, 0.2, 3, 9, base_momentum=0.5).state_dict())
    assert (cycle.up, cycle.down, cycle.momenta) == (3, 9, [(0.5, 0.9)] * 2)
    one = lr_scheduler.OneCycleLR(a, 0.3, 100)
    one.load_state_dict(
        m.OneCycleLR(b, 0.3, 60, pct_start=0.5, three_phase=True, anneal_strategy="linear").state_dict()
    )
    assert (one.pct_start, one.three_phase, one.anneal_strategy, one.total_steps) == (0.5, True, "linear", 60)
    steps = lr_scheduler.MultiStepLR(a, [1])
    steps.load_state_dict(m.MultiStepLR(b, [10, 3, 10]).state_dict())
    assert steps.state_dict()["milestones"] == [3, 10, 10]
    plateau, other = lr_scheduler.ReduceLROnPlateau(a, patience=1), m.ReduceLROnPlateau(b, patience=1)
    other.step(1.0), other.step(2.0)
    plateau.load_state_dict(other.state_dict()), a.load_state_dict(b.state_dict())
    other.step(3.0), plateau.step(3.0)
    assert hyper(a) == hyper(b)
    with pytest.raises(ValueError, match=r"OneCycleLR.load_state_dict: the snapshot is PyTorch's, of another schedule"):
        one.load_state_dict(m.StepLR(b, 3).state_dict())
    with pytest.raises(ValueError, match=r"the snapshot has .*this schedule"):
        lr_scheduler.StepLR(a, 3).load_state_dict(m.ExponentialLR(b, 0.9).state_dict())


def test_a_snapshot_of_other_groups_is_refused():
    state = lr_scheduler.StepLR(ours(), 3).state_dict()
    one = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="snapshot is of 2 parameter groups, the optimiser has 1"):
        lr_scheduler.StepLR(one, 3).load_state_dict(state)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("level", [3.0, -3.0, 0.0])
def test_a_plateau_is_one_whatever_the_sign_of_the_metric(mode, threshold_mode, level):
    optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=0, threshold=0.1, threshold_mode=threshold_mode
    )
    better = -1 if mode == "min" else 1
    margin = 0.1 * (abs(level) if threshold_mode == "rel" else 1.0)
    for metric, rate in [
        (level, 1.0),
        (level + better * (margin + 0.01), 1.0),
        (level + better * (margin + 0.01), 0.5),
    ]:
        optimizer.step()
        schedule.step(metric)
        assert optimizer.param_groups[0]["lr"] == rate
    schedule.step(level + better * (margin + 0.011))  # less than the margin better
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_a_schedule_that_steps_before_the_optimiser_warns_and_otherwise_nothing_does():
    optimizer = ours()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        schedule.step()
    schedule = lr_scheduler.ChainedScheduler([schedule, lr_scheduler.ExponentialLR(optimizer, 0.9)])
    with pytest.warns(UserWarning, match=r"ChainedScheduler.*before optimizer\.step") as caught:
        schedule.step()
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = ours()
        schedule = lr_scheduler.SequentialLR(
            optimizer, [lr_scheduler.WarmupLR(optimizer, 2), lr_scheduler.StepLR(optimizer, 3)], [2]
        )
        optimizer.step(), schedule.step(), schedule.step()


def test_one_cycle_past_its_end_raises():
    optimizer = ours(momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)
    optimizer.step()
    for _ in range(5):
        schedule.step()
    with pytest.raises(ValueError, match="total_steps=5"):
        schedule.step()


@pytest.mark.parametrize("make, error, words", [
    (lambda o: lr_scheduler.StepLR(o, 0), ValueError, "StepLR.*step_size"),
    (lambda o: lr_scheduler.StepLR(o, 2.5), ValueError, "StepLR.*step_size"),
    (lambda o: lr_scheduler.StepLR(o, 2, float("nan")), ValueError, "StepLR.*gamma"),
    (lambda o: lr_scheduler.StepLR(o, "2"), TypeError, "StepLR.*step_size"),
    (lambda o: lr_scheduler.StepLR("o", 2), TypeError, "StepLR.*optimiser"),
    (lambda o: lr_scheduler.MultiStepLR(o, 3), TypeError, "MultiStepLR: milestones are integers, in a list, not 3"),
    (lambda o: lr_scheduler.LambdaLR(o, 3), TypeError, "LambdaLR.*function"),
    (lambda o: lr_scheduler.LambdaLR(o, [lambda t: t] * 3), ValueError, "LambdaLR.*3 values for 2"),
    (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "LinearLR.*start_factor"),
    (lambda o: lr_scheduler.ConstantLR(o, 2.0), ValueError, "ConstantLR.*factor"),
    (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), ValueError, "T_max"),
    (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="up"), ValueError, "CyclicLR.*'up'"),
    (lambda o: lr_scheduler.CyclicLR(optim.Adagrad(o.param_groups[0]["params"]), 0.1, 0.2), ValueError, "momentum"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1), ValueError, "total_steps"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"), ValueError, "anneal_strategy"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o).step(), TypeError, "metric"),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 2)], [3]), ValueError, "milestones"),
    (lambda o: lr_scheduler.SequentialLR(o, [], []), TypeError, "SequentialLR"),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 2), lr_scheduler.StepLR(ours(), 2)]), ValueError, "same"),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]), ValueError, "ChainedScheduler.*metric"),
    (lambda o: lr_scheduler.StepLR(o, 2, last_epoch=3), ValueError, "initial_lr"),
    (lambda o: lr_scheduler.StepLR(o, 2).load_state_dict({"x": 1}), ValueError, "StepLR.load_state_dict"),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "epoch"),
])  # fmt: skip
def test_bad_input_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make(ours(momentum=0.9))


# Averages of the parameters


def test_the_averages_are_pytorchs():
    torch = pytest.importorskip("torch")
    model, net = torch.nn.Linear(3, 2).double(), nn.Linear(3, 2).astype("float64")
    net.load_state_dict({k: v.numpy() for k, v in model.state_dict().items()})
    averages = [optim.swa.EMA(net.parameters(), 0.9), optim.swa.SWA(net.parameters())]
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    others = [AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)), AveragedModel(model)]
    others[0].update_parameters(model)  # torch's first update copies; ours starts as a copy
    rng = np.random.default_rng(0)
    for _ in range(10):
        for p, q in zip(net.parameters(), model.parameters()):
            p.data = rng.normal(size=p.shape)
            q.data = torch.tensor(p.data)
        for a, b in zip(averages, others):
            a.update(), b.update_parameters(model)
            for x, y in zip(a.shadow, b.module.parameters()):
                np.testing.assert_allclose(x, y.detach().numpy(), rtol=1e-12)


def test_averages_of_half_precision_take_steps_that_it_would_lose():
    w = ad.Tensor(np.ones(2, "float16"), requires_grad=True)
    ema, swa = optim.swa.EMA([w], 0.999), optim.swa.SWA([w])
    w.data = np.full(2, 2, "float16")
    for _ in range(3000):
        ema.update(), swa.update()
    np.testing.assert_allclose(ema.shadow[0], 2 - 0.999**3000, rtol=1e-4)
    np.testing.assert_allclose(swa.shadow[0], 2, rtol=1e-4)
    ema.copy_to()
    assert w.dtype == np.float16


def test_averages_can_be_applied_copied_and_continued():
    w = ad.Tensor([1.0, 2.0], requires_grad=True)
    ema = optim.swa.EMA([w], 0.5)
    w.data = np.array([3.0, 4.0])
    ema.update()
    with pytest.raises(KeyError), ema.applied():
        assert w.data.tolist() == [2.0, 3.0]
        raise KeyError
    assert w.data.tolist() == [3.0, 4.0]
    other = optim.swa.EMA([ad.Tensor([0.0, 0.0])], 0.5)
    other.load_state_dict(ema.state_dict())
    assert other.shadow[0].tolist() == [2.0, 3.0] and other.shadow[0] is not ema.shadow[0]
    ema.copy_to()
    assert w.data.tolist() == [2.0, 3.0]
    with pytest.raises(ValueError, match="shapes"):
        ema.copy_to([ad.Tensor([1.0])])
    with pytest.raises(ValueError, match="decay"):
        optim.swa.EMA([w], 1.5)
    with pytest.raises(ValueError, match="empty"):
        optim.swa.SWA([])
    with pytest.raises(TypeError):
        optim.swa.SWA(w)


def test_batch_norm_gets_plain_means_of_its_statistics_anew():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 5, 2)).astype("float32")
    model.eval()
    optim.swa.update_bn(list(x), model)
    np.testing.assert_allclose(model[0].running_mean.data, x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(model[0].running_var.data, x.var(1, ddof=1).mean(0), rtol=1e-5)
    assert not model.training and model[0].momentum == 0.1


@pytest.mark.parametrize("state", [{}, 3, {"shadow": [np.ones(2)]}])
def test_averages_refuse_what_is_no_snapshot(state):
    with pytest.raises(TypeError, match=r"EMA.load_state_dict: takes what state_dict"):
        optim.swa.EMA([ad.Tensor(np.ones(2), requires_grad=True)]).load_state_dict(state)
