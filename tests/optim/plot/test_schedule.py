"""The rates of a schedule are those it sets when it is stepped, and nothing of the user's is touched."""

import copy

import numpy as np
import pytest

import autodiff as ad
import optim
from optim import lr_scheduler as ls
from optim.plot import scheduled

MAKERS = {
    "lambda": lambda o: ls.LambdaLR(o, lambda t: 1 / (1 + t)),
    "step": lambda o: ls.StepLR(o, 3),
    "exponential": lambda o: ls.ExponentialLR(o, 0.9),
    "cosine": lambda o: ls.CosineAnnealingLR(o, T_max=10),
    "restarts": lambda o: ls.CosineAnnealingWarmRestarts(o, 4),
    "cycle": lambda o: ls.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=4),
    "one cycle": lambda o: ls.OneCycleLR(o, max_lr=0.1, total_steps=20),
    "sequence": lambda o: ls.SequentialLR(o, [ls.WarmupLR(o, 3), ls.ExponentialLR(o, 0.5)], milestones=[3]),
    "chain": lambda o: ls.ChainedScheduler([ls.StepLR(o, 2), ls.ExponentialLR(o, 0.9)]),
}


def sgd():
    return optim.SGD([ad.Tensor(np.ones(3), requires_grad=True)], lr=0.1, momentum=0.9)


@pytest.mark.parametrize("name", MAKERS)
def test_the_rates_are_those_of_stepping_the_schedule_itself(name):
    mine = sgd()
    plan = MAKERS[name](mine)
    for _ in range(2):  # from where it stands
        mine.step()
        plan.step()
    before = copy.deepcopy((plan.state_dict(), mine.state_dict()))
    found = scheduled(plan, 10)
    assert str((plan.state_dict(), mine.state_dict())) == str(before)
    stepped = []
    for _ in range(10):
        stepped += plan.get_last_lr()
        plan.step()
    np.testing.assert_array_equal(found, stepped)
    np.testing.assert_array_equal(scheduled(MAKERS[name], 12, lr=0.1)[2:], found)


def test_parameters_and_state_are_not_copied():
    class Uncopied(ad.Tensor):
        __slots__ = ()

        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    p = Uncopied(np.ones(3), requires_grad=True)
    adam = optim.Adam([p])
    p.grad = np.ones(3)
    adam.step()
    assert scheduled(ls.StepLR(adam, 2), 3).shape == (3,)
    assert set(adam.state[p]) == {"exp_avg", "exp_avg_sq", "step"}


def test_an_optimiser_that_has_not_stepped_is_told_nothing_and_no_warning_is_given(recwarn):
    mine = sgd()
    scheduled(ls.StepLR(mine, 2), 5)
    assert not mine.stepped and not recwarn.list


def test_several_groups_have_a_column_each(plt):
    a, b = (ad.Tensor(1.0, requires_grad=True) for _ in range(2))
    mine = optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.01}], lr=1.0)
    plan = ls.StepLR(mine, 2)
    assert scheduled(plan, 3).tolist() == [[0.1, 0.01], [0.1, 0.01], [0.1 * 0.1, 0.01 * 0.1]]
    labels = [line.get_label() for line in optim.plot.schedule({"step": plan}, 3).lines]
    assert labels == ["step, group 0", "step, group 1"]


def test_a_plateau_takes_metrics():
    make = lambda o: ls.ReduceLROnPlateau(o, patience=0, factor=0.5)
    assert scheduled(make, 4, metrics=[1.0, 2.0, 3.0]).tolist() == [1.0, 1.0, 0.5, 0.25]
    with pytest.raises(ValueError, match="needs metrics=, 3 numbers here; got 0"):
        scheduled(make, 4)


def test_the_figure_shows_the_rates_on_my_axes(plt):
    _, mine = plt.subplots()
    plans = {name: MAKERS[name] for name in ("step", "cosine")}
    assert optim.plot.schedule(plans, 20, lr=0.1, ax=mine) is mine
    for line, name in zip(mine.lines, plans, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), scheduled(plans[name], 20, lr=0.1))
    assert mine.get_ylim()[0] == 0


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((3, 5), TypeError, "takes a schedule, or a function that makes one of an optimiser, not int"),
        ((lambda o: 0.1, 5), TypeError, "not one that makes a float"),
        ((MAKERS["step"], 0), ValueError, "steps must be a whole number of at least 1, not 0"),
        ((MAKERS["step"], 2.5), ValueError, "not 2.5"),
        (({}, 3), ValueError, "empty"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        optim.plot.schedule(*arguments)
