"""How we measure: two ways of doing one thing, interleaved in one process, compared pair by pair.

Wall times on shared machines are soft; the ratio within a pair is what carries over. A run whose
reference spreads by more than 20 % is marked, not hidden.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

NUM_WARM_UPS = 2
MAX_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Timings of reference and candidate, pair by pair."""

    name: str
    reference_s: list[float]
    candidate_s: list[float]
    reference_cpu_s: list[float]
    candidate_cpu_s: list[float]
    load: tuple[float, float]

    @property
    def ratios(self) -> list[float]:
        """Reference over candidate, per pair."""
        return _ratios(self.reference_s, self.candidate_s)

    def __str__(self) -> str:
        ratios = self.ratios
        cpu = statistics.median(_ratios(self.reference_cpu_s, self.candidate_cpu_s))
        middle = statistics.median(self.reference_s)
        spread = (max(self.reference_s) - min(self.reference_s)) / middle
        return (
            f"{self.name}: {statistics.median(ratios):.1f}x "
            f"({min(ratios):.1f} to {max(ratios):.1f}, {len(ratios)} pairs), "
            f"{cpu:.1f}x in CPU seconds, "
            f"reference {middle * 1e3:.1f} ms, "
            f"candidate {statistics.median(self.candidate_s) * 1e3:.1f} ms, "
            f"reference spread {spread:.0%}{' TOO WIDE' * (spread > MAX_SPREAD)}, "
            f"load {self.load[0]:.1f} to {self.load[1]:.1f}"
        )


def compare(
    name: str, reference: Callable[[], object], candidate: Callable[[], object], num_pairs: int = 5
) -> Comparison:
    """Time both, interleaved, after warming up each."""
    before = os.getloadavg()[0]
    for _ in range(NUM_WARM_UPS):
        reference()
        candidate()
    slow, fast = [], []
    for _ in range(num_pairs):
        slow.append(_seconds(reference))
        fast.append(_seconds(candidate))
    return Comparison(
        name=name,
        reference_s=[wall for wall, _ in slow],
        candidate_s=[wall for wall, _ in fast],
        reference_cpu_s=[cpu for _, cpu in slow],
        candidate_cpu_s=[cpu for _, cpu in fast],
        load=(before, os.getloadavg()[0]),
    )


def _ratios(reference: list[float], candidate: list[float]) -> list[float]:
    return [one / other for one, other in zip(reference, candidate, strict=True)]


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds; the latter say less about waiting for a busy machine."""
    began, spent = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - spent
