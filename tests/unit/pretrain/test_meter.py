"""The clock of a run: a quote once, an outturn at the end, speeds that are numbers."""

import math
import re
import time
from datetime import datetime

import pytest
import torch

from tessera_core.pretrain.meter import CALIBRATION_STEPS, Meter, peak_memory_gb
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.testing.models import tiny_settings

NOW = datetime(2026, 3, 2, 9, 30)
SECOND_RANK = Ranks(rank=1, size=2, device=torch.device("cpu"))


def meter_of(num_steps=60, ranks=None, **changes):
    return Meter(
        config=tiny_settings(num_steps=num_steps, **changes),
        ranks=ranks or alone(),
        num_views=3,
        flops_per_pixel=1e6,
        peak_flops=1e12,
    )


def quotes(meter, num_steps):
    """Return step -> quote of a run, for the steps that have one."""
    said = {step: meter.quote(step, NOW) for step in meter.watch(range(num_steps))}
    return {step: text for step, text in said.items() if text is not None}


def test_the_quote_comes_once_after_the_calibration_steps():
    found = quotes(meter_of(60), 60)

    assert list(found) == [CALIBRATION_STEPS - 1]


def test_the_quote_says_what_is_left_when_it_will_be_done_and_what_it_costs():
    meter = meter_of(1020)

    (text,) = quotes(meter, 25).values()

    pattern = (
        r"quote: 1000 steps to go at [\d,]+ samples/s, \d+:\d\d:\d\d, "
        r"done about Mon 09:3\d; \d+\.\d\d CPU-process-hours, peak memory \d+\.\d GB on each"
    )
    assert re.fullmatch(pattern, text)


def test_the_quote_extrapolates_the_time_of_the_calibration_steps():
    meter = meter_of(20 + 20 * 1000, batch_size=16)

    def slow():
        for step in range(CALIBRATION_STEPS):
            time.sleep(0.002)
            yield step

    (text,) = [text for step in meter.watch(slow()) if (text := meter.quote(step, NOW))]

    hours, minutes, seconds = (
        int(part) for part in re.search(r"(\d+):(\d\d):(\d\d),", text)[0][:-1].split(":")
    )
    # 20 sleeps of 2 ms take 0.04 s or more, and a thousand times as many steps are to go.
    assert 3600 * hours + 60 * minutes + seconds >= 40


@pytest.mark.parametrize("num_steps", [1, CALIBRATION_STEPS - 1, CALIBRATION_STEPS])
def test_a_run_that_is_as_good_as_over_is_not_quoted(num_steps):
    assert quotes(meter_of(num_steps), num_steps) == {}


def test_a_resumed_run_is_quoted_after_as_many_steps_of_its_own():
    meter = meter_of(100)

    said = {step: meter.quote(step, NOW) for step in meter.watch(range(50, 100))}

    (step,) = [step for step, text in said.items() if text]
    assert step == 50 + CALIBRATION_STEPS - 1
    assert said[step].startswith("quote: 30 steps to go")


def test_other_ranks_say_nothing():
    meter = meter_of(60, ranks=SECOND_RANK, num_ranks=2)

    assert quotes(meter, 60) == {}
    assert meter.is_quiet is True
    assert meter_of(60).is_quiet is None


def test_the_outturn_says_what_the_run_took():
    meter = meter_of(7)
    for _ in meter.watch(range(7)):
        pass

    pattern = (
        r"outturn: 7 steps at [\d,]+ samples/s, 0:00:\d\d, \d+\.\d% of it waiting for data; "
        r"0\.00 CPU-process-hours, peak memory \d+\.\d GB on each"
    )
    assert re.fullmatch(pattern, meter.outturn())


def test_every_step_has_finite_speeds_and_a_share_of_waiting_between_0_and_1():
    meter = meter_of(30)

    for _ in meter.watch(range(30)):
        rates = meter.rates()

        assert rates.keys() == {
            "speed/samples_per_second", "speed/tokens_per_second", "speed/model_flops_utilisation",
            "speed/data_wait_share", "memory/peak_gb",
        }  # fmt: skip
        assert all(math.isfinite(value) for value in rates.values())
        assert 0 <= rates["speed/data_wait_share"] <= 1
        assert rates["speed/samples_per_second"] > 0


def test_speeds_are_told_in_samples_tokens_and_shares_of_the_peak():
    meter = meter_of(30, batch_size=16, view_lengths=(4, 8))

    rates = [meter.rates() for _ in meter.watch(range(5))][-1]

    samples = rates["speed/samples_per_second"]
    # Two sensors of 6 observations on average, three views; a millionth of the peak per sample.
    assert rates["speed/tokens_per_second"] == pytest.approx(samples * 2 * 6 * 3)
    assert rates["speed/model_flops_utilisation"] == pytest.approx(samples * 1e-6)


def test_utilisation_is_of_all_devices_together():
    meter = meter_of(30, ranks=SECOND_RANK, num_ranks=2)

    rates = [meter.rates() for _ in meter.watch(range(5))][-1]

    assert rates["speed/model_flops_utilisation"] == pytest.approx(
        rates["speed/samples_per_second"] * 1e-6 / 2
    )


def slow(num, seconds):
    for item in range(num):
        time.sleep(seconds)
        yield item


def test_waiting_for_batches_shows_as_a_share_of_the_time():
    waiting, working = meter_of(30), meter_of(30)

    starved = [waiting.rates() for _ in waiting.watch(slow(4, 0.01))][-1]
    for _ in working.watch(range(4)):
        time.sleep(0.01)
        busy = working.rates()

    assert starved["speed/data_wait_share"] > 0.5 > busy["speed/data_wait_share"]


def test_batches_pass_through_unchanged():
    assert list(meter_of().watch("abc")) == ["a", "b", "c"]


def test_the_peak_memory_of_this_process_is_counted_in_gigabytes():
    assert 0.01 < peak_memory_gb(torch.device("cpu")) < 1000
