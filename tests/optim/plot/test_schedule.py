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


@pytest.mark.filterwarnings("error")
def test_an_exploding_schedule_is_drawn_up_to_where_it_explodes_and_the_legend_says_so(plt):
    explode = lambda o: ls.ExponentialLR(o, 1e30)
    ax = optim.plot.schedule(explode, 41)
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 1e30 ** np.arange(10), rtol=1e-9)
    assert ax.get_ylim()[0] < 1e30 and ax.get_yscale() == "log"
    assert ax.get_legend().get_texts()[0].get_text() == "1e+300 from step 10 on"
    assert (ax.lines[1].get_xdata(), ax.lines[1].get_marker()) == ([9], "x")
    _, mine = plt.subplots()
    optim.plot.schedule(
        {"_$a_": lambda o: ls.LambdaLR(o, lambda t: 1.0 if t < 3 else np.inf), "b": explode}, 5, ax=mine
    )
    mine.figure.canvas.draw()
    assert [t.get_text() for t in mine.get_legend().get_texts()] == [r" _\$a_, ∞ from step 3 on", "b"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate, words", [(np.inf, "∞"), (np.nan, "NaN"), (1.7e308, "1.7e+308")])
def test_a_schedule_without_a_rate_to_draw_says_so(plt, rate, words):
    ax = optim.plot.schedule(lambda o: ls.LambdaLR(o, lambda t: rate), 4)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_texts()[0].get_text() == f"{words} from step 0 on" and len(ax.lines) == 1
