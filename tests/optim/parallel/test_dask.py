"""scikit-learn's searches on a cluster of dask's."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_a_grid_search_on_two_workers_finds_what_one_process_finds() -> None:
    distributed = pytest.importorskip("distributed", reason="needs dask's distributed")
    joblib, selection = pytest.importorskip("joblib"), pytest.importorskip("sklearn.model_selection")
    from optim.sklearn import NetClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int)

    def search() -> list[float]:
        grid = {"lr": [1e-3, 1e-1]}
        found = selection.GridSearchCV(NetClassifier(8, epochs=5, random_state=0), grid, cv=3).fit(X, y)
        return found.cv_results_["mean_test_score"].tolist()

    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None), joblib.parallel_backend("dask"):
        on_workers = search()
    assert on_workers == search()
