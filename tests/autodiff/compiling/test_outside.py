"""Clocks, files and entropy that a function reads while it is traced are refused; what libraries ask for is not."""

import cProfile
import datetime
import gc
import logging
import os
import pathlib
import sys
import time
import uuid
import warnings

import numpy as np
import pytest

import autodiff as ad
from autodiff.compiling.tracer import TraceError

X = np.arange(3.0)
FILE = pathlib.Path(__file__)


class Later(datetime.datetime):
    pass


def opened(x):
    with open(FILE) as file:
        return x * len(file.readline())


@pytest.mark.parametrize("read, match", [
    (lambda x: x * time.time(), r"time\.time\(\) is read"),
    (lambda x: x * time.perf_counter(), r"time\.perf_counter\(\) is read"),
    (lambda x: x * time.monotonic_ns(), r"time\.monotonic_ns\(\) is read"),
    (lambda x: x * time.localtime().tm_sec, r"time\.localtime\(\) is read"),
    (lambda x: x * datetime.datetime.now().second, r"datetime\.now\(\) is read"),
    (lambda x: x * datetime.datetime.now(datetime.UTC).second, r"datetime\.now\(\) is read"),
    (lambda x: x * Later.now().second, r"datetime\.now\(\) is read"),
    (lambda x: x * datetime.date.today().day, r"datetime\.today\(\) is read"),
    (opened, "a file is opened"),
    (lambda x: x * len(FILE.read_text()), "a file is opened"),
    (lambda x: x * len(np.loadtxt(FILE, dtype=str, delimiter="\0", comments=None)), "a file is opened"),
    (lambda x: x * os.urandom(1)[0], "random numbers are drawn"),
    (lambda x: x * uuid.uuid4().int, "random numbers are drawn"),
])  # fmt: skip
def test_what_is_read_from_outside_is_refused_with_the_line_and_the_way_out(read, match):
    with pytest.raises(TraceError, match=match) as caught:
        ad.compile(read)(X)
    assert "outside, and give it as an argument" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)
    compiled = ad.compile(read, on_unsupported="eager")
    compiled(X)
    assert "which would be the same at every call" in compiled.explain() and not compiled.programs


def test_a_refusal_that_the_function_catches_is_raised_all_the_same():
    def f(x):
        try:
            return x * time.time()
        except Exception:
            return x

    with pytest.raises(TraceError, match=r"time\.time\(\) is read"):
        ad.compile(f)(X)


def test_what_libraries_ask_for_their_own_ends_is_let_through(caplog):
    def f(x):
        import colorsys  # a file is opened here

        logging.getLogger(__name__).warning("now")
        warnings.warn("with its line of source", stacklevel=1)
        return x * colorsys.rgb_to_hsv(1.0, 0.0, 0.0)[1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(ad.compile(f)(X), X)
    assert "now" in caplog.text


def test_what_an_installed_library_times_for_itself_is_let_through_in_a_garbage_collection_too():
    scope = {"time": time}
    exec(compile("def timed(*_): time.perf_counter()", "/lib/site-packages/bar/bar.py", "exec"), scope)

    def f(x):
        scope["timed"]()
        gc.collect()
        return x * 2

    gc.callbacks.append(scope["timed"])
    try:
        np.testing.assert_array_equal(ad.compile(f)(X), 2 * X)
    finally:
        gc.callbacks.remove(scope["timed"])


def test_a_profiler_stays_and_sees_the_calls():
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        np.testing.assert_array_equal(ad.compile(lambda x: x * 2)(X), 2 * X)
    finally:
        profiler.disable()
    assert any("trace" in str(entry.code) for entry in profiler.getstats())


def test_no_profiler_is_left_after_a_trace():
    before = sys.getprofile()
    ad.compile(lambda x: x * 2)(X)
    with pytest.raises(TraceError):
        ad.compile(lambda x: x * time.time())(X)
    assert sys.getprofile() is before
