"""A function prints once, however often a trace runs it."""

import sys
import threading

import numpy as np
import pytest

import autodiff as ad
from autodiff.compiling.printed import held_output


def masked(x):
    print("masked", end=";")
    print("a warning", file=sys.stderr)
    return x[x > 0]


def test_a_function_that_cannot_be_compiled_prints_once_a_call(capsys):
    compiled = ad.compile(masked, on_unsupported="eager")
    compiled(np.ones(3))
    compiled(np.ones(3))
    assert capsys.readouterr() == ("masked;" * 2, "a warning\n" * 2)


def test_special_values_for_which_the_function_is_run_again_print_once(capsys):
    def slope(x):
        print("slope")
        return ad.grad(lambda t: np.sqrt(t).sum())(x)

    ad.compile(slope)(np.array([0.0, 1.0]))
    assert capsys.readouterr().out == "slope\n"


def test_a_large_array_of_the_closure_that_makes_it_run_again_prints_once(capsys):
    large = np.ones(1 << 14)

    def total(x):
        print("total")
        return x * float(np.asarray(large).tolist()[0])

    ad.compile(total)(2.0 * np.ones(2))
    assert capsys.readouterr().out == "total\n"


def test_what_was_printed_before_an_error_is_seen(capsys):
    with pytest.raises(TypeError, match="a boolean index"):
        ad.compile(masked)(np.ones(3))
    assert capsys.readouterr().out == "masked;"


def test_other_threads_and_later_prints_go_through(capsys):
    with held_output() as printed:
        stream = sys.stdout
        thread = threading.Thread(target=print, args=("from another",))
        thread.start()
        thread.join()
        print("held")
        assert stream.isatty() is False
        printed.forget()
        stream.writelines(["kept\n"])
    print("later", file=stream)
    assert capsys.readouterr().out == "from another\nkept\nlater\n"
