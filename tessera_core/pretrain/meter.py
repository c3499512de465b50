"""How fast a run is, what it will cost and what it did cost."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

import torch

from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.ranks import Ranks

CALIBRATION_STEPS: Final = 20
WARM_UP_STEPS: Final = 2
"""The first steps fill caches and are no measure of those that follow."""

Item = TypeVar("Item")


@dataclass(slots=True, kw_only=True)
class Meter:
    """Clock of one training process; numbers are of all ranks together."""

    config: PretrainConfig
    """Settings."""

    ranks: Ranks
    """This process among all."""

    flops_per_pixel: float
    """Operations of one step per d-pixel."""

    peak_flops: float
    """Operations per second that matrix products reach on one device."""

    num_views: int
    """Views encoded per d-pixel."""

    _began: float = field(default_factory=time.perf_counter)
    _steps: int = 0
    _waited_s: float = 0.0
    _since: float = field(default_factory=time.perf_counter)
    _steps_since: int = 0
    _waited_since_s: float = 0.0

    @property
    def is_quiet(self) -> bool | None:
        """Whether to show no progress; None leaves it to the terminal (tqdm's ``disable``)."""
        return None if self.ranks.is_first else True

    def watch(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield batches and time how long each is waited for."""
        iterator = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            waited = time.perf_counter() - began
            self._waited_s += waited
            self._waited_since_s += waited
            yield item
            self._steps += 1
            self._steps_since += 1
            if self._steps == WARM_UP_STEPS:
                self._restart()

    def rates(self) -> dict[str, float]:
        """Return speeds since they were last asked for."""
        elapsed = time.perf_counter() - self._since
        # The step that asks has not been counted yet.
        samples = (self._steps_since + 1) * self.config.batch_size / elapsed
        length = 2 * sum(self.config.view_lengths) / len(self.config.view_lengths)
        share = samples * self.flops_per_pixel / (self.peak_flops * self.ranks.size)
        found = {
            "speed/samples_per_second": samples,
            "speed/tokens_per_second": samples * length * self.num_views,
            "speed/model_flops_utilisation": share,
            "speed/data_wait_share": self._waited_since_s / elapsed,
            "memory/peak_gb": peak_memory_gb(self.ranks.device),
        }
        self._restart()
        self._steps_since = -1
        return found

    def quote(self, step: int, now: datetime) -> str | None:
        """Return what the rest of the run will take, once, after the calibration steps."""
        last = step + 1 >= self.config.num_steps
        if self._steps + 1 != CALIBRATION_STEPS or last or not self.ranks.is_first:
            return None
        left = self.config.num_steps - step - 1
        elapsed = time.perf_counter() - self._began
        seconds = left * elapsed / CALIBRATION_STEPS
        samples = CALIBRATION_STEPS * self.config.batch_size / elapsed
        return (
            f"quote: {left} steps to go at {samples:,.0f} samples/s, {_spell(seconds)}, done about "
            f"{now + timedelta(seconds=seconds):%a %H:%M}; {self._price(seconds)}"
        )

    def outturn(self) -> str:
        """Return what the run took, this process's part of it."""
        elapsed = time.perf_counter() - self._began
        samples = self._steps * self.config.batch_size / elapsed
        return (
            f"outturn: {self._steps} steps at {samples:,.0f} samples/s, {_spell(elapsed)}, "
            f"{self._waited_s / elapsed:.1%} of it waiting for data; {self._price(elapsed)}"
        )

    def _price(self, seconds: float) -> str:
        kind = "GPU" if self.ranks.device.type == "cuda" else "CPU-process"
        hours = self.ranks.size * seconds / 3600
        memory = peak_memory_gb(self.ranks.device)
        return f"{hours:.2f} {kind}-hours, peak memory {memory:.1f} GB on each"

    def _restart(self) -> None:
        self._since = time.perf_counter()
        self._steps_since = 0
        self._waited_since_s = 0.0


def peak_memory_gb(device: torch.device) -> float:
    """Return the most memory held so far: of the GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _spell(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
