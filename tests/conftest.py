"""What every test file shares: hypothesis settings, the `slow` marker, and a switched-off garbage collector."""

import gc
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin after work starve the other core

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from autodiff.random import manual_seed

# "reproducible" draws the same examples on every machine; HYPOTHESIS_PROFILE=explore draws new ones, and more.
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("reproducible", deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    """Leave the slow proofs out (pytest reports them as deselected) unless --slow or -m or a test's own name asks."""
    named = any("::" in argument for argument in config.args)
    if config.getoption("--slow") or config.getoption("-m") or named:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    """Whatever a test draws from the default generators, of a new layer's weights say, is the same in every run."""
    manual_seed(0)
    np.random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture
def no_collector():
    """The garbage collector off, as in programs that cannot afford its pauses: only reference counting frees."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def plt():
    """matplotlib's pyplot, drawing to memory; a figure leaves the settings of the user as they are."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    yield pyplot
    pyplot.close("all")
    assert dict(matplotlib.rcParams) == before
