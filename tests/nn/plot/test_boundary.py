"""Decision maps are what the model says, and modules are afterwards what they were."""

import numpy as np
import pytest

import nn

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0, 1, 1, 0])


def logit(x):
    return x[:, 0] + 2 * x[:, 1] - 1


def test_one_logit_decides_by_its_sign():
    found = nn.plot.decision_map(logit, X, XOR, points=31)
    grid = np.stack(np.meshgrid(found.x, found.y), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(found.values.ravel(), logit(grid))
    np.testing.assert_array_equal(found.labels.ravel(), logit(grid) > 0)
    assert found.classes.tolist() == [0, 1] and found.threshold == 0 and "2 classes" in repr(found)
    np.testing.assert_allclose([found.x[0], found.x[-1], found.y[0], found.y[-1]], [-0.12, 1.12, -0.12, 1.12])


def test_several_outputs_decide_by_the_largest():
    found = nn.plot.decision_map(lambda x: np.stack([x[:, 0], x[:, 1], 0.5 + 0 * x[:, 0]], axis=1), X, [0, 1, 2, 2])
    a, b = np.meshgrid(found.x, found.y)
    np.testing.assert_array_equal(found.labels, np.argmax([a, b, 0.5 + 0 * a], axis=0))


def test_targets_of_many_values_are_a_regression(plt):
    ax = nn.plot.decision_boundary(lambda x: x[:, :1] * x[:, 1:], X, [0.0, 0.1, 0.2, 1.5])
    assert nn.plot.decision_map(logit, X, [0.0, 0.1, 0.2, 1.5]).labels is None
    norms = [c.norm for c in ax.collections if c.get_array() is not None]
    assert all((n.vmin, n.vmax) == (norms[0].vmin, norms[0].vmax) for n in norms) and len(norms) == 2


def test_probabilities_are_told_from_logits():
    model = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    found = nn.plot.decision_map(model, X, XOR)
    assert found.threshold == 0.5
    np.testing.assert_array_equal(found.labels, found.values > 0.5)
    p = lambda x: 1 / (1 + np.exp(-logit(x)))
    with pytest.raises(ValueError, match=r"say threshold=0\.5 for probabilities, threshold=0 for logits"):
        nn.plot.decision_map(p, X, XOR)
    assert nn.plot.decision_map(p, X, XOR, threshold=0.5).labels.mean() < 1


def test_names_and_signs_and_booleans_are_classes_too():
    for y, classes in (
        ([-1, 1, 1, -1], [-1, 1]),
        (["no", "yes", "yes", "no"], ["no", "yes"]),
        (XOR > 0, [False, True]),
    ):
        assert nn.plot.decision_map(logit, X, y).classes.tolist() == classes


def test_a_module_runs_in_evaluation_mode_and_is_afterwards_what_it_was():
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    one, two = (nn.plot.decision_map(model, X, XOR).values for _ in range(2))
    np.testing.assert_array_equal(one, two)  # no dropout
    assert model.training and all((v.numpy() == before[k]).all() for k, v in model.state_dict().items())


def test_the_picture_has_a_boundary_a_marker_for_each_class_and_the_axes_are_mine(plt):
    _, mine = plt.subplots()
    assert nn.plot.decision_boundary(logit, X, XOR, ax=mine) is mine
    assert [line.get_marker() for line in mine.lines] == ["o", "s"]
    (path,) = mine.collections[0].get_paths()
    np.testing.assert_allclose(logit(path.vertices), 0, atol=1e-9)
    assert mine.images[0].get_array().shape == (201, 201, 3)


def test_a_model_that_knows_one_class_only_is_drawn(plt):
    nn.plot.decision_boundary(lambda x: 1 + 0 * logit(x), X, XOR, threshold=0).figure.canvas.draw()
    nn.plot.decision_boundary(lambda x: np.eye(3)[np.zeros(len(x), int)], X, XOR).figure.canvas.draw()
    nn.plot.decision_boundary(lambda x: 0 * logit(x), X, [1.0, 1.0, 1.0, 1.0]).figure.canvas.draw()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(model=3), TypeError, "takes a module or a function, not int"),
        (dict(X=np.ones((4, 3))), ValueError, r"two features.*\(4, 3\)"),
        (dict(X=X * np.nan), ValueError, "finite data of two features"),
        (dict(X=[["a", "b"]] * 4), ValueError, "two features"),
        (dict(y=[0, 1]), ValueError, "a target for each of the 4 samples"),
        (dict(y=[0, 1, np.nan, 2]), ValueError, "finite numbers"),
        (dict(y=["a", "b", "c", "a"]), ValueError, "two different names"),
        (dict(model=lambda x: np.ones((len(x), 2, 2))), ValueError, r"\(n,\), \(n, 1\) or \(n, classes\)"),
        (dict(model=lambda x: x[:3, 0]), ValueError, "for n points"),
        (dict(model=lambda x: np.ones((len(x), 2)), y=[0, 1, 2, 1]), ValueError, "indices of the 2 classes"),
        (dict(kind="classes"), ValueError, "kind is 'classes' for several outputs"),
        (dict(kind="colours"), ValueError, "got 'colours'"),
        (dict(kind="binary", y=[0, 1, 2, 3]), ValueError, "two different targets, not 4"),
        (dict(model=lambda x: np.where(x[:, 0] > 0.5, np.nan, -1)), ValueError, r"NaN at 20\d01 of 40401 points"),
        (dict(threshold="half"), TypeError, "threshold is a number"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = dict(model=logit, X=X, y=XOR) | change
    with pytest.raises(error, match=message):
        nn.plot.decision_map(**arguments)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "y, classes",
    [
        (np.full(4, -128, np.int8), [-128, 128]),
        (np.full(4, 5, np.uint8), [-5, 5]),
        (np.ones(4, bool), [False, True]),
        (np.zeros(4), [0, 1]),
    ],
)
def test_the_class_that_the_data_lack_is_the_other_one(y, classes):
    found = nn.plot.decision_map(logit, X, y, kind="binary")
    assert found.classes.tolist() == classes and y[0] in found.classes


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200])
def test_data_of_any_size_are_drawn(plt, scale):
    ax = nn.plot.decision_boundary(lambda x: x[:, 0] - 0.5 * scale, X * scale, XOR)
    ax.figure.canvas.draw()
    assert ax.get_xlim()[0] < 0 < scale < ax.get_xlim()[1]


@pytest.mark.filterwarnings("error")
def test_infinite_outputs_have_a_boundary_and_no_warning(plt):
    ax = nn.plot.decision_boundary(lambda x: np.log(np.maximum(x[:, 0] - 0.5, 0)) - np.log(0.25), X, XOR)
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.collections[0].get_paths()[0].vertices[:, 0], 0.75, atol=0.02)
    two = nn.plot.decision_boundary(
        lambda x: np.stack([np.where(x[:, 0] > 0.5, np.inf, 0), 0.1 + 0 * x[:, 1]], 1), X, XOR
    )
    edges = np.concatenate([path.vertices for c in two.collections for path in c.get_paths()])
    np.testing.assert_allclose(edges[:, 0], 0.5, atol=0.02)


@pytest.mark.filterwarnings("error")
def test_a_regression_that_is_nowhere_finite_says_so(plt):
    ax = nn.plot.decision_boundary(lambda x: x[:, 0] * np.nan, X, [0.1, 0.2, 0.3, 0.4])
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ["no finite value"]


@pytest.mark.filterwarnings("error")
def test_names_of_classes_are_no_formulas_and_many_classes_fit(plt):
    ax = nn.plot.decision_boundary(logit, X, ["$a_$_", "_漢", "_漢", "$a_$_"])
    ax.figure.canvas.draw()
    assert ax.get_legend().get_texts()[0].get_text() == r"class \$a_\$_"
    many = nn.plot.decision_boundary(lambda x: np.cos(x[:, :1] + np.arange(40)), X, [0, 1, 2, 39])
    many.figure.canvas.draw()
    assert len(many.get_legend().get_texts()) == 40


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(y=["a"] * 4, kind="binary"), "two different names"),
        (dict(X=X * 1e308), r"not up to 1e\+308, more than 1e\+300"),
        (dict(X=X[:, 0]), r"not of shape \(4,\)"),
        (dict(X=X[:0], y=XOR[:0]), r"not of shape \(0, 2\)"),
        (dict(X=X * np.nan), "not with nan"),
        (dict(X=[["a", "b"]] * 4), "not of dtype <U1"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_data(change, message):
    with pytest.raises(ValueError, match=message):
        nn.plot.decision_map(**dict(model=logit, X=X, y=XOR) | change)
