"""Simultaneous calls with ordered results and limited memory."""

import threading
import time

import pytest

from semicml_tf.serving.client.remote_model import in_order


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_results_have_the_order_of_the_items(parallel):
    def later(number):
        time.sleep(0.002 * (7 - number % 7))  # the later items of a group are ready first
        return number * number

    assert list(in_order(later, range(40), parallel)) == [number * number for number in range(40)]


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_the_number_of_simultaneous_calls_and_stored_results_is_limited(parallel):
    together = threading.Barrier(parallel)
    lock, now, most, taken, given = threading.Lock(), 0, 0, 0, 0

    def call(number):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(timeout=20)  # breaks unless all of a group are there
        with lock:
            now -= 1
        return number

    def items():
        nonlocal taken
        for number in range(4 * parallel):
            taken += 1
            assert taken - given <= parallel
            yield number

    for result in in_order(call, items(), parallel):
        assert result == given
        given += 1
    assert (most, given) == (parallel, 4 * parallel)


def test_an_error_is_raised_in_its_order_and_no_further_calls_start():
    begun = []

    def call(number):
        begun.append(number)
        if number == 3:
            raise KeyError(number)
        return number

    results = in_order(call, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    time.sleep(0.05)
    assert len(begun) <= 6


def test_no_call_starts_before_the_first_result_is_requested():
    assert list(in_order(len, [], 4)) == []
    untouched = in_order(pytest.fail, iter(["never"]), 4)
    untouched.close()
