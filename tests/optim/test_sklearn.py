# ruff: noqa: E402
"""The estimators are scikit-learn's in every respect that its own checks know, and its tools work around them."""

import copy
import functools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
import optim
from tests.documents import ENTRIES

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    ParameterGrid,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from optim.sklearn import NetClassifier, NetRegressor

ROOT = Path(__file__).parents[2]


def layers(n_features, n_outputs, rng):
    return nn.Sequential(
        nn.Linear(n_features, 24, dtype=float, rng=rng), nn.Tanh(), nn.Linear(24, n_outputs, dtype=float, rng=rng)
    )


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


# scikit-learn's own checks


@pytest.mark.parametrize("estimator", [pytest.param(NetClassifier(), marks=pytest.mark.slow), NetRegressor()], ids=repr)
def test_the_checks_of_scikit_learn_pass(estimator):
    results = check_estimator(estimator, on_skip=None)
    assert len(results) > 50
    skipped = {r["check_name"] for r in results if r["status"] != "passed"}
    optional = {"check_array_api_input", "check_sample_weights_pandas_series"}
    assert skipped <= optional | {f"check_{kind}_data_not_an_array" for kind in ("classifier", "regressor")}


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [NetClassifier, NetRegressor])
def test_the_checks_of_scikit_learn_pass_with_layers_of_nn_too(estimator):
    results = check_estimator(estimator(module=layers, lr=0.01), on_skip=None)
    assert not [r for r in results if r["status"] not in ("passed", "skipped")]


# Its tools (row by row)


def test_hold_out_and_k_fold_cross_validation(iris):
    X, y = iris
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    assert NetClassifier((16,), lr=0.01, random_state=0).fit(X_train, y_train).score(X_test, y_test) > 0.9
    model = make_pipeline(StandardScaler(), NetClassifier((16,), lr=0.01, epochs=30, random_state=0))
    scores = cross_val_score(model, *load_iris(return_X_y=True), cv=StratifiedKFold(5, shuffle=True, random_state=0))
    assert len(scores) == 5 and scores.mean() > 0.92
    X, y = load_diabetes(return_X_y=True)
    regressor = TransformedTargetRegressor(
        NetRegressor((16,), lr=0.005, epochs=40, random_state=0), transformer=StandardScaler()
    )
    scores = cross_val_score(
        make_pipeline(StandardScaler(), regressor), X, y, cv=KFold(3, shuffle=True, random_state=0)
    )
    assert scores.mean() > 0.35


def test_leave_one_out(iris):
    X, y = iris[0][::4], iris[1][::4]
    predicted = cross_val_predict(NetClassifier((8,), lr=0.05, epochs=20, random_state=0), X, y, cv=LeaveOneOut())
    assert (predicted == y).mean() > 0.85


def test_grid_search_over_rates_penalties_and_layers(iris):
    model = make_pipeline(StandardScaler(), NetClassifier(epochs=30, random_state=0))
    grid = {
        "netclassifier__lr": [1e-6, 0.02],
        "netclassifier__weight_decay": [0.0, 0.01],
        "netclassifier__hidden": [(), (8,)],
    }
    search = GridSearchCV(model, grid, cv=3).fit(*iris)
    assert len(search.cv_results_["params"]) == 8
    assert search.best_params_["netclassifier__lr"] == 0.02
    assert search.best_score_ > 0.9
    assert search.predict(iris[0]).shape == (150,)


def test_random_search(iris):
    stats = pytest.importorskip("scipy.stats")
    space = {"lr": stats.loguniform(1e-4, 1e-1), "hidden": [(4,), (16,), (8, 8)], "activation": ["tanh", "relu"]}
    estimator = NetClassifier(epochs=10, random_state=0)
    search = RandomizedSearchCV(estimator, space, n_iter=5, cv=3, random_state=0).fit(*iris)
    assert search.best_score_ > 0.8 and len(search.cv_results_["params"]) == 5


def test_nested_cross_validation(iris):
    inner = GridSearchCV(NetClassifier((8,), epochs=8, random_state=0), {"lr": [1e-6, 0.03]}, cv=3)
    scores = cross_val_score(inner, *iris, cv=StratifiedKFold(5, shuffle=True, random_state=1))
    assert len(scores) == 5 and scores.mean() > 0.85


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_training_that_diverges_loses_the_search_and_does_not_stop_it():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(NetRegressor((4,), optimizer=optim.SGD, epochs=3, random_state=0), {"lr": [1e-6, 1e9]}, cv=2)
    with pytest.warns(FitFailedWarning, match="FloatingPointError: fit: the loss is"), np.errstate(all="ignore"):
        search.fit(X, y)
    assert search.best_params_ == {"lr": 1e-6}


# Against solutions known otherwise


def test_without_hidden_layers_a_classifier_is_logistic_regression():
    X, y = make_classification(
        300, 5, n_informative=3, n_redundant=0, flip_y=0.2, n_classes=3, n_clusters_per_class=1, random_state=0
    )
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    newton = functools.partial(
        optim.LBFGS, max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=0
    )
    ours = NetClassifier((), optimizer=newton, lr=1.0, batch_size=None, epochs=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-4)
    assert (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_hidden_layers_a_regressor_is_weighted_least_squares(rng, outputs, weighted):
    X = rng.normal(size=(120, 4))
    y = rng.normal(size=(120,) if outputs is None else (120, outputs))
    weight = rng.uniform(0, 3, 120) * (rng.random(120) > 0.2) if weighted else None
    theirs = LinearRegression().fit(X, y, weight)
    newton = functools.partial(
        optim.LBFGS, max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=0
    )
    ours = NetRegressor((), optimizer=newton, lr=1.0, batch_size=None, epochs=3, random_state=0).fit(X, y, weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-6)
    assert ours.predict(X).shape == y.shape


def test_an_epoch_of_the_default_network_is_that_of_torch(rng):
    torch = pytest.importorskip("torch")
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    ours = NetClassifier((7, 5), activation="tanh", epochs=1, batch_size=None, lr=0.0, random_state=0).fit(X, y)
    sizes = [3, 7, 5, 4]
    linear = [torch.nn.Linear(i, o).double() for i, o in zip(sizes, sizes[1:])]
    theirs = torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1], torch.nn.Tanh(), linear[2])
    for i, layer in enumerate(linear):
        state = ours.module_.state_dict()
        layer.load_state_dict({k: torch.tensor(state[f"{i}.{k}"].numpy()) for k in ("weight", "bias")})
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    ours.optimizer_.param_groups[0]["lr"] = 0.01
    ours.optimizer_.state.clear()
    for _ in range(20):
        ours.partial_fit(X, y)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(y)).backward()
        optimizer.step()
    with torch.no_grad():
        np.testing.assert_allclose(ours.predict_proba(X), theirs(torch.tensor(X)).softmax(1).numpy(), rtol=1e-8)


# Labels, weights, single precision


def test_labels_may_be_strings_and_come_back(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = NetClassifier((16,), lr=0.01, epochs=30, random_state=0).fit(X, names)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.score(X, names) > 0.9
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(X)).all()
    numbers = NetClassifier((16,), lr=0.01, epochs=30, random_state=0).fit(X, y * 10 - 7)
    np.testing.assert_array_equal(numbers.predict_proba(X), probabilities)


@pytest.mark.parametrize("estimator", [NetClassifier, NetRegressor])
def test_single_precision_stays_single_precision(iris, estimator):
    X, y = iris
    model = estimator((8,), epochs=2, random_state=0).fit(X.astype(np.float32), y)
    assert all(p.dtype == np.float32 for p in model.module_.parameters())
    output = model.predict_proba(X) if estimator is NetClassifier else model.predict(X)
    assert output.dtype == np.float32


# Training


@pytest.mark.parametrize("estimator", [NetClassifier, NetRegressor])
def test_so_many_partial_fits_are_a_fit_to_the_last_bit(iris, estimator):
    X, y = iris
    whole = estimator((8,), epochs=4, random_state=3).fit(X, y)
    parts = estimator((8,), epochs=99, random_state=3)
    first = {"classes": [0, 1, 2]} if estimator is NetClassifier else {}
    for i in range(4):
        parts.partial_fit(X, y, **(first if i == 0 else {}))
    for a, b in zip(whole.module_.parameters(), parts.module_.parameters()):
        assert (a.data == b.data).all()
    assert whole.history_ == parts.history_ and parts.n_iter_ == 4


def test_a_fit_starts_anew_and_a_partial_fit_goes_on(iris):
    X, y = iris
    model = NetClassifier((8,), epochs=3, random_state=0).fit(X, y)
    first = model.predict_proba(X)
    assert (model.fit(X, y).predict_proba(X) == first).all()
    assert model.n_iter_ == 3
    model.partial_fit(X, y)
    assert model.n_iter_ == 4 and len(model.history_.train_loss) == 4
    assert (model.predict_proba(X) != first).any()


def test_early_stopping_keeps_the_best_weights_on_what_it_held_out(iris):
    X, y = iris
    model = NetClassifier(
        (32,), lr=0.05, epochs=200, early_stopping=True, validation_fraction=0.3, patience=5, random_state=0
    ).fit(X, y)
    history = model.history_
    assert model.n_iter_ == len(history) == history.best_epoch + 5 < 200
    assert history.stopped == "patience"
    assert model.score(X, y) > 0.9
    model.partial_fit(X, y)  # without validation: what both histories have goes on
    assert model.n_iter_ == len(model.history_.train_loss) == history.best_epoch + 6
    tiny = NetClassifier((4,), epochs=3, early_stopping=True, validation_fraction=2, random_state=0)
    assert tiny.fit(X[::15], y[::15]).n_iter_ <= 3  # too few samples to hold one out of each class


def test_ctrl_c_ends_a_search_and_leaves_what_was_learned(iris):
    X, y = iris
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 17:  # in the fourth epoch of five batches
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(output, target)

    model = NetClassifier((8,), loss=loss, lr=0.01, epochs=50, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.n_iter_ == 3 and model.history_.stopped == "interrupted"
    assert model.predict(X).shape == y.shape
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(model, X, y)


def test_the_random_state_decides_everything(iris):
    X, y = iris
    models = [NetClassifier((8,), epochs=3, random_state=s).fit(X, y).predict_proba(X) for s in (0, 0, 1)]
    assert (models[0] == models[1]).all() and (models[0] != models[2]).any()
    state = np.random.RandomState(0)
    a, b = (NetClassifier((8,), epochs=3, random_state=state).fit(X, y).predict_proba(X) for _ in range(2))
    assert (a != b).any()


def test_estimators_can_be_cloned_copied_and_pickled(iris):
    X, y = iris
    model = NetClassifier(module=layers, optimizer=optim.AdamW, epochs=3, random_state=0).fit(X, y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin.predict_proba(X) == model.predict_proba(X)).all()
        twin.partial_fit(X, y)
        again = copy.deepcopy(model).partial_fit(X, y)
        assert (twin.predict_proba(X) == again.predict_proba(X)).all()
    fresh = clone(model)
    assert fresh.get_params() == model.get_params() and not hasattr(fresh, "module_")
    with pytest.raises(NotFittedError):
        fresh.predict(X)


# Networks of one's own


def test_a_network_of_nn_with_dropout_and_normalisation_is_trained_and_then_evaluated(iris):
    X, y = iris
    nn.manual_seed(0)

    def factory(n_features, n_outputs):
        return nn.Sequential(
            nn.Linear(n_features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, n_outputs)
        )

    model = NetClassifier(module=factory, lr=0.01, epochs=30).fit(X, y)
    assert model.score(X, y) > 0.9
    assert not model.module_.training
    assert (model.predict_proba(X) == model.predict_proba(X)).all()
    assert model.predict_proba(X).dtype == np.float32
    model.partial_fit(X, y)
    assert not model.module_.training


def test_a_factory_with_a_generator_is_reproducible(iris):
    X, y = iris
    a, b = (NetClassifier(module=layers, epochs=3, random_state=5).fit(X, y).predict_proba(X) for _ in range(2))
    assert (a == b).all()
    network = functools.partial(lambda n, k, width, rng: nn.MLP([n, width, k], rng=rng), width=9)
    assert NetClassifier(module=network, epochs=1).fit(X, y).module_[0].out_features == 9


def wide(n, k, width=8, depth=1, rng=None):
    return nn.MLP([n, *[width] * depth, k], rng=rng)


def test_parameters_of_the_module_are_parameters_of_the_estimator(iris):
    X, y = iris
    model = NetClassifier(module=wide, module__width=5, epochs=2, random_state=0)
    assert clone(model).get_params()["module__width"] == 5
    assert "module__width=5" in repr(model)
    search = GridSearchCV(model, {"module__width": [3, 7], "module__depth": [1, 2], "lr": [0.1]}, cv=2).fit(X, y)
    best = search.best_params_
    assert search.best_estimator_.module_[0].out_features == best["module__width"] in (3, 7)
    assert len(search.cv_results_["params"]) == 4
    assert model.set_params(module__width=4, lr=0.2).fit(X, y).module_[0].out_features == 4 and model.lr == 0.2
    assert (pickle.loads(pickle.dumps(model)).predict(X) == model.predict(X)).all()
    with pytest.raises(TypeError, match="no parameter 'width'; one of module= is module__width"):
        NetClassifier(module=wide, width=5)
    with pytest.raises(ValueError, match="module__width is a parameter of module=, and there is none"):
        NetRegressor(module__width=5).fit(X, y)


def test_class_weights_are_scikit_learns(rng):
    X, y = rng.normal(size=(300, 2)), np.array(["a"] * 270 + ["b"] * 30)
    X[y == "b"] += 1
    for weight in ("balanced", {"a": 0.2, "b": 3.0}):
        theirs = LogisticRegression(C=np.inf, tol=1e-10, class_weight=weight).fit(X, y)
        ours = NetClassifier(
            (), optimizer=functools.partial(optim.LBFGS, line_search_fn="strong_wolfe"), lr=1.0, batch_size=None,
            epochs=20, class_weight=weight, random_state=0,
        ).fit(X, y)  # fmt: skip
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    sample_weight = rng.random(300) + 0.1
    both = NetClassifier((4,), class_weight={"b": 2.0}, epochs=2, random_state=0).fit(X, y, sample_weight)
    alone = NetClassifier((4,), epochs=2, random_state=0).fit(X, y, sample_weight * np.where(y == "b", 2.0, 1.0))
    assert (both.predict_proba(X) == alone.predict_proba(X)).all()
    with pytest.raises(ValueError, match="class_weight='balanced' is of all samples"):
        NetClassifier(class_weight="balanced").partial_fit(X, y, classes=["a", "b"])
    for wrong in ({"a": -1.0}, {"a": 0, "b": 0}):
        with pytest.raises(ValueError, match="class_weight must be at least 0"):
            NetClassifier(class_weight=wrong).fit(X, y)
    with pytest.raises(TypeError, match="class_weight"):
        NetRegressor(class_weight="balanced")


def test_callbacks_and_a_schedule_go_with_the_training(iris):
    X, y = iris
    seen = []
    model = NetClassifier(
        (4,), lr=0.1, epochs=3, callbacks=[lambda state: seen.append(state.epoch)], random_state=0,
        scheduler=lambda optimizer: optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    ).fit(X, y)  # fmt: skip
    assert seen == [1, 2, 3] and model.history_.lr == [0.1, 0.05, 0.025]
    model.partial_fit(X, y)  # which goes on with the schedule, too
    assert model.history_.lr[-1] == 0.0125
    assert NetClassifier((4,), epochs=9, callbacks=[lambda state: state.epoch == 2]).fit(X, y).n_iter_ == 2
    with pytest.raises(TypeError, match="scheduler must be a function of the optimiser"):
        NetClassifier(scheduler="cosine").fit(X, y)


@pytest.mark.parametrize("kind", [optim.NewtonCG, optim.HessianFree, optim.NaturalGradient])
def test_optimisers_of_second_order_train_estimators(iris, kind):
    X, y = iris
    lr = {"lr": 1.0} if kind is optim.NaturalGradient else {}
    model = NetClassifier((4,), optimizer=kind, batch_size=None, epochs=15, random_state=0, **lr).fit(X, y)
    assert model.score(X, y) > 0.9
    if not lr:
        with pytest.raises(ValueError, match=r"lr=0\.5 is given, and the optimizer has no learning rate"):
            model.set_params(lr=0.5).fit(X, y)


def test_another_loss_may_be_minimised(rng):
    X = rng.normal(size=(200, 1))
    y = 3 * X[:, 0] + (rng.random(200) > 0.8) * 50.0
    robust = NetRegressor((), loss=nn.L1Loss(), lr=0.05, epochs=150, random_state=0).fit(X, y)
    np.testing.assert_allclose(robust.predict([[1.0], [-1.0]]), [3, -3], atol=0.3)
    twice = NetRegressor((4,), loss=nn.MSELoss(reduction="none"), epochs=3, random_state=0)
    same = NetRegressor((4,), epochs=3, random_state=0)
    weight = rng.random(200)
    assert (twice.fit(X, y, weight).predict(X) == same.fit(X, y, weight).predict(X)).all()


# Bad input


@pytest.mark.parametrize(
    "estimator, error, message",
    [
        (NetClassifier(activation="cosine"), ValueError, "activation must be one of relu"),
        (NetClassifier(hidden=(0,)), ValueError, "hidden"),
        (NetClassifier(hidden=(2.5,)), ValueError, "hidden"),
        (NetClassifier(module=nn.Linear(4, 3)), TypeError, "write lambda n, k"),
        (NetClassifier(optimizer="adam"), TypeError, "optimizer must be a function.*not 'adam'"),
        (NetClassifier(module=lambda n, k: nn.Linear(n, k + 1)), ValueError, r"\(32, 3\), not \(32, 4\)"),
        (NetClassifier(lr=-1.0), ValueError, "lr"),
        (NetClassifier(epochs=0), ValueError, "epochs"),
        (NetClassifier(batch_size=0), ValueError, "batch_size"),
        (NetRegressor(module=lambda n, k: lambda x: x), AttributeError, "parameters"),
        (NetClassifier(hidden=(8,), module=layers), ValueError, r"hidden=\(8,\) is for the default network"),
        (NetRegressor(np.array([8, 8]), module=layers), ValueError, "hidden="),
        (NetRegressor(activation="tanh", module=layers), ValueError, "activation='tanh' is for the default network"),
    ],
)
def test_bad_parameters_are_refused_in_fit(iris, estimator, error, message):
    with pytest.raises(error, match=message):
        estimator.fit(*iris)


@pytest.mark.parametrize("labels", [["a", "b"], np.array(["a", "b"]), np.array(["1.5", "b"], object), [b"a", b"b"]])
def test_a_regressor_says_that_text_is_no_target(labels):
    for train in (NetRegressor(epochs=1).fit, NetRegressor(epochs=1).partial_fit):
        with pytest.raises(ValueError, match=r"NetRegressor: y holds text, such as .*NetClassifier"):
            train(np.ones((2, 3)), labels)


def test_bad_data_are_refused(iris):
    X, y = iris
    model = NetClassifier((4,), epochs=1)
    with pytest.raises(ValueError, match="first call needs classes"):
        model.partial_fit(X, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"labels \[7\]"):
        model.partial_fit(X, np.full(len(X), 7))
    with pytest.raises(ValueError, match="before"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="sample_weight must be at least 0"):
        model.fit(X, y, np.full(len(X), -1.0))
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):  # newer versions of scikit-learn say it themselves
        model.fit(X, y, np.zeros(len(X)))
    with pytest.raises(ValueError, match="reduction='none'"):
        NetClassifier((4,), loss=nn.CrossEntropyLoss(), epochs=1).fit(X, y, np.ones(len(X)))
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, y + 0.5)
    regressor = NetRegressor((4,), epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"\(150, 2\), but it had shape \(samples,\)"):
        regressor.partial_fit(X, np.ones((150, 2)))


def test_optim_is_imported_without_scikit_learn_and_its_estimators_say_what_they_need():
    code = """
import sys, optim
assert not {"sklearn", "matplotlib", "tqdm", "pandas"} & set(sys.modules)
sys.modules["sklearn.base"] = None
try:
    import optim.sklearn
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install -U scikit-learn" in done.stdout


def test_the_submodules_are_attributes_of_optim_and_scikit_learn_waits_for_who_asks():
    code = """
import sys, optim
print("sklearn" in sys.modules, optim.data.batches is optim.batches, optim.lr_scheduler.StepLR.__name__, optim.swa.EMA.__name__)
print(optim.sklearn.NetClassifier.__name__, "sklearn" in sys.modules, hasattr(optim, "torch"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "StepLR", "EMA", "NetClassifier", "True", "False"]


@pytest.mark.slow
def test_the_documents_counts_of_trainings():
    entry = ENTRIES["cross-validation-counts"]
    given, expected = entry["inputs"], entry["expected"]
    X, y = np.arange(60.0)[:, None], np.arange(60) % 2
    fits = [0]

    class Counting(LogisticRegression):
        def fit(self, X, y):
            fits[0] += 1
            return super().fit(X, y)

    for _ in range(given["architectures"]):
        cross_val_score(Counting(), X, y, cv=given["folds"])
    assert fits[0] == expected["kfold_trainings"]
    for (outer, inner), trainings, final in zip(
        given["nested"], expected["nested_inner_trainings_per_configuration"], expected["nested_final_retrainings"]
    ):
        fits[0] = 0
        cross_val_score(GridSearchCV(Counting(), {"C": [1.0]}, cv=inner), X, y, cv=outer)
        assert fits[0] == trainings + final
    grid = ParameterGrid({str(i): range(n) for i, n in enumerate(given["grid"])})
    assert len(grid) == expected["grid_points"]
    n, split = given["stratified"]["n"], given["stratified"]
    labels = np.repeat([0, 1], [round(n * share) for share in split["classes"]])
    train, test = train_test_split(labels, train_size=split["train"], stratify=labels, random_state=0)
    assert np.bincount(train).tolist() == expected["stratified_train"]
    assert np.bincount(test).tolist() == expected["stratified_test"]


def test_the_history_of_a_loss_that_weighs_its_targets_is_the_mean_that_it_would_have_over_all(rng):
    X, y = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    criterion = nn.CrossEntropyLoss([0.1, 1.0, 5.0])
    model = NetClassifier(
        loss=criterion, optimizer=lambda params, lr: optim.SGD(params, lr=0.0), epochs=1, batch_size=7, random_state=0
    ).fit(X, y)
    whole = criterion(model.module_(X), y).item()
    np.testing.assert_allclose(model.history_["train_loss"], [whole], rtol=1e-9)
