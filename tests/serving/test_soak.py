"""The embedded server's memory under load, and a small run of the serving benchmark."""

import re

import pytest

from benchmarks import serving_setup, serving_soak, serving_speed
from benchmarks.serving_soak import Sample
from semicml_tf import commandline

# Heaps settle by a few MB; thousands of requests of which a page each was kept would be more.
MOST_GROWTH_MB = 16


def test_growth_is_a_trend_and_not_a_single_sample():
    def seen(memory):
        return [Sample(float(second), memory(second), 9, 0, 0) for second in range(61)]

    # The warm-up, the first 20 s here, does not count.
    assert serving_soak.growth(seen(lambda second: 500.0 + 0.25 * second)) == pytest.approx(10, abs=0.3)
    assert serving_soak.growth(seen(lambda second: 100.0 * min(second, 20))) == 0
    assert serving_soak.growth(seen(lambda second: 900.0 if second % 7 == 0 else 500.0)) == 0


@pytest.mark.soak
def test_memory_and_open_files_stay_flat_for_a_minute():
    samples, errors = serving_soak.soak(60.0, 2)
    assert not errors
    assert samples[-1].requests > 500
    assert serving_soak.growth(samples) < MOST_GROWTH_MB, serving_soak.table(samples)
    # Each caller connects hundreds of times.
    assert max(one.files for one in samples[20:]) < samples[5].files + 50


@pytest.mark.soak
def test_a_small_run_of_the_serving_benchmark(monkeypatch, capsys):
    tiny = serving_setup.Case((4, 16, 16), 16, 2)
    monkeypatch.setattr(serving_speed, "CASES", {"tiny": tiny})
    commandline.call(
        "benchmarks.serving_speed",
        ["--cases=tiny", "--rounds=2", "--clients=1,2", "--seconds=0.3", "--client_rounds=1"],
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| (4 x 16|in proc|embedded)", line)]
    assert len(rows) == 3 + 3 and all(row.endswith(" 0 |") for row in rows[3:])
