"""Memory of freed arrays that the process keeps: no page faults, in processes of their own."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from autodiff import memory

GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource
import numpy as np, autodiff as ad
{first}
x = np.linspace(0.1, 1.0, 4_000_000)
f = ad.value_and_grad(lambda x: (np.exp(x) * x).sum())
f(x), f(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
f(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first="", **environment):
    """How many page faults a gradient on arrays of 32 MB causes, the third time."""
    run = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True,
        env=os.environ | {"AUTODIFF_KEEP_MEMORY": "0"} | environment,
    )  # fmt: skip
    return int(run.stdout.split()[-1])


@pytest.mark.skipif(not GLIBC, reason="only glibc has these thresholds")
def test_a_process_that_keeps_its_memory_has_no_page_faults():
    assert faults() > 1000
    assert faults("assert ad.keep_memory() is True") < 100
    assert faults(AUTODIFF_KEEP_MEMORY="1") < 100
    assert faults(AUTODIFF_KEEP_MEMORY="") > 1000


@pytest.mark.parametrize("library", [OSError, TypeError, SimpleNamespace(mallopt=lambda *_: 1)])
def test_where_there_is_no_glibc_nothing_is_done(monkeypatch, library):
    def load(name):
        if isinstance(library, type):
            raise library("no such library")
        return library

    monkeypatch.setattr(memory.ctypes, "CDLL", load)
    assert memory.keep_memory() is False


def test_a_threshold_that_an_older_glibc_refuses_is_asked_for_smaller(monkeypatch):
    asked = []

    def mallopt(what, value):
        asked.append((what, value))
        return int(what == -1 or value <= 2**25)

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt, gnu_get_libc_version=None))
    assert memory.keep_memory() is True
    assert asked == [(-3, 2**31 - 1), (-3, 2**25), (-1, 2**31 - 1)]
