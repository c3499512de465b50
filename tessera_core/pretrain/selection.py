"""Which of a run's encoders is handed out: the one that a probe likes best, found on the side.

The probe sees selection labels only; what reports are made of is never looked at here. It works in
a thread of its own on a copy of the encoder, so that training goes on meanwhile.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from torch import Tensor

from tessera_core.model.encoder import Encoder
from tessera_core.ports import Tracker
from tessera_core.pretrain.checkpoint import Best, Progress

Probe = Callable[[Encoder], float]
Weights = dict[str, Tensor]

METRIC = "probe/accuracy"


@dataclass(slots=True, kw_only=True)
class Selection:
    """Probes under way, oldest first."""

    probe: Probe | None
    """Scores an encoder, higher is better; None selects nothing: the last encoder is the one."""

    scratch: Encoder
    """A copy of the encoder that is only used here. Made beforehand: building a network draws from
    the chance that the training step draws from."""

    _waiting: list[tuple[int, Weights, "Future[float]"]] = field(default_factory=list)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="probe")
    )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let the probe under way end and forget the others."""
        self._thread.shutdown(cancel_futures=True)

    def submit(self, step: int, weights: Weights) -> None:
        """Have the encoder scored that had these weights after a step."""
        if self.probe is not None:
            future = self._thread.submit(_score, self.probe, self.scratch, weights)
            self._waiting.append((step, weights, future))

    def settle(self, progress: Progress, tracker: Tracker, *, wait: bool) -> None:
        """Take over the scores that are there; with ``wait``, all of them.

        The score goes into the record of the step that it belongs to. What a checkpoint holds must
        not depend on how fast the probe was: before one is written, all scores must be in.
        """
        while self._waiting and (wait or self._waiting[0][2].done()):
            step, weights, future = self._waiting.pop(0)
            score = future.result()
            record = next(one for one in reversed(progress.history) if one["step"] == step)
            record[METRIC] = score
            tracker.log_metrics(step, {METRIC: score})
            # A NaN is above nothing, so that it never stands in the way of a number.
            if score > (-math.inf if progress.best is None else progress.best.score):
                progress.best = Best(step=step, score=score, encoder=weights)


def _score(probe: Probe, scratch: Encoder, weights: Weights) -> float:
    scratch.load_state_dict(weights)
    return probe(scratch.eval())
