"""Two versions' embeddings of the same d-pixels to a verdict and, where there is one, a map.

Shapes: N anchors (d-pixels), D values of the champion, E values of the challenger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from tessera_core.compare.bridge.alike import linear_cka, neighbour_overlap
from tessera_core.compare.bridge.maps import RIDGES, AffineMap, Fit, Form, fit_map, measure_fit
from tessera_core.diagnostics.reading import rounded
from tessera_core.domain.geometry import Floats, Ints, Values, require_rows
from tessera_core.errors import InputError
from tessera_core.pretrain.probe import predict_linear, single_blas_thread, standardise

NUM_FOLDS: Final = 5
MIN_GROUPS: Final = 2 * NUM_FOLDS
MIN_ANCHORS_PER_VALUE: Final = 2
"""An affine map has one weight per value of the source for each value it predicts; with fewer
anchors than that and as many to spare, its error speaks of the anchors and not of the versions."""

COMPATIBLE_ERROR: Final = 0.1
"""Largest relative error at which two versions may stand side by side as they are.

1 % of the variance. int8 storage alone costs an error of about 0.01, bfloat16 as much again;
leaving out every second date costs 0.36 and two halves of the dates are 0.63 apart (the embedded
default's encoder on simulated scenes). So at this error a mixed map has no edge that its own noise
does not hide."""

BRIDGEABLE_ERROR: Final = 0.4
"""Largest relative error, on groups the map never saw, at which a map is worth storing.

About what leaving out every second date costs, and 84 % of the variance. It has to be that small:
embeddings are dominated by a few directions that much is linearly related to. On simulated scenes
(on a real tile) the affine map leaves 0.31 and 0.35 (0.33) between two encoders that differ in
their seed and 0.25 and 0.30 (0.33 and 0.27) between 300 and 600 steps of training, but 0.44 (0.43)
from an untrained encoder and 0.49 (0.66) from monthly values of the raw series, which are nobody's
idea of a compatible version. Verdicts near it are close calls: read the error."""

MIN_PROBE_TRANSFER: Final = 0.9
"""Smallest share of a champion's head's accuracy that must be left after the map.

An error of 0.4 may sit in directions that no head uses, or in the very ones that tell two crops
apart; where classes are known, they decide. A tenth of the accuracy is the most that reusing a
head instead of fitting another is worth."""

SIMPLER_BY: Final = 0.02
"""A rotation is preferred up to this much more error than an affine map: it keeps distances, so
nearest neighbours and clusters carry over and not only linear heads."""


class Verdict(StrEnum):
    """What one may do with embeddings of both versions."""

    COMPATIBLE = "compatible"
    """Mix them."""

    BRIDGEABLE = "bridgeable"
    """Mix them after mapping the challenger's, at a known error."""

    INCOMPATIBLE = "incompatible"
    """Keep them apart and fit heads anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTransfer:
    """How a head fitted on the champion's embeddings fares, out of fold."""

    champion: float
    """Accuracy on the champion's embeddings, 0..1."""

    identity: float | None
    """On the challenger's as they are; None for another width."""

    mapped: float
    """On the challenger's after the map."""

    majority: float
    """Of answering the most frequent class, to judge the others by."""

    @property
    def kept(self) -> float:
        """Share of the champion's accuracy that is left after the map; may exceed 1."""
        return self.mapped / self.champion if self.champion > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bridge:
    """What is known of two versions' embeddings of the same d-pixels."""

    verdict: Verdict
    """What one may do."""

    reason: str
    """Which number decided, in a sentence."""

    form: Form
    """The map that the verdict is about; the identity when compatible."""

    error: float
    """Its relative error on groups that it was not fitted on: 0 exact, 1 the mean's."""

    cka: float
    """Debiased linear CKA, about 0 (independent) to 1 (equal up to rotation and scale)."""

    neighbour_overlap: float
    """Share of the nearest neighbours in other groups that both agree on, 0..1."""

    fits: Mapping[Form, Fit]
    """Held-out error and cosine by map; no identity between different widths."""

    probe: ProbeTransfer | None
    """None without classes."""

    widths: tuple[int, int]
    """Values of the champion's and of the challenger's embeddings."""

    num_anchors: int
    """D-pixels that all was measured on."""

    num_groups: int
    """Fields or blocks that they come from."""

    map: AffineMap | None
    """From challenger to champion, fitted on all anchors; None when incompatible."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the map itself is stored beside it."""
        stored: dict[str, Any] = {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "form": self.form.value,
            "error": self.error,
            "cka": self.cka,
            "neighbour_overlap": self.neighbour_overlap,
            "probe_transfer": self.probe.kept if self.probe else None,
            "probe": {
                "champion": self.probe.champion,
                "identity": self.probe.identity,
                "mapped": self.probe.mapped,
                "majority": self.probe.majority,
            }
            if self.probe
            else None,
            "champion_dim": self.widths[0],
            "challenger_dim": self.widths[1],
            "num_anchors": self.num_anchors,
            "num_groups": self.num_groups,
            "thresholds": {
                "compatible_error": COMPATIBLE_ERROR,
                "bridgeable_error": BRIDGEABLE_ERROR,
                "min_probe_transfer": MIN_PROBE_TRANSFER,
            },
        }
        for form in Form:
            fit = self.fits.get(form)
            stored[f"{form.value}_error"] = fit.error if fit else None
            stored[f"{form.value}_cosine"] = fit.cosine if fit else None
        return rounded(stored)


def build_bridge(
    champion_ND: Values, challenger_NE: Values, groups_N: Ints, classes_N: Ints | None, seed: int
) -> Bridge:
    """Measure how far a new version's embeddings can stand in for the old one's.

    Every error is measured on whole groups that the map was not fitted on, so near copies of an
    anchor help nobody.

    Args:
        champion_ND: The old version's embeddings of N anchors.
        challenger_NE: The new version's embeddings of the same anchors.
        groups_N: Field or block of each anchor.
        classes_N: Class of each anchor, negative where it has none; None for no classes at all.
        seed: Deals the groups to folds.

    Raises:
        InputError: The arrays do not fit together, hold NaN, have too few anchors or groups for
            their widths, or the champion gives all anchors one embedding.
    """
    champion, challenger = _checked(champion_ND, challenger_NE, groups_N, classes_N)
    fold = _deal(groups_N, seed)
    with single_blas_thread():
        same_width = champion.shape[1] == challenger.shape[1]
        forms = [form for form in Form if same_width or form is not Form.IDENTITY]
        mapped, centre_ND = _map_out_of_fold(champion, challenger, fold, forms)
        fits = {form: measure_fit(mapped[form], champion, centre_ND) for form in mapped}
        form = choose_form(fits)
        probe = _transfer(champion, mapped, form, classes_N, fold)
        verdict, reason = _judge(form, fits[form].error, probe)
        found = None
        if verdict is not Verdict.INCOMPATIBLE:
            found = _fit(form, challenger, champion, fold)
        return Bridge(
            verdict=verdict,
            reason=reason,
            form=form,
            error=fits[form].error,
            cka=linear_cka(champion, challenger),
            neighbour_overlap=neighbour_overlap(champion, challenger, groups_N),
            fits=fits,
            probe=probe,
            widths=(champion.shape[1], challenger.shape[1]),
            num_anchors=len(champion),
            num_groups=len(np.unique(groups_N)),
            map=found,
        )


def map_error(source_NE: Values, target_ND: Values, groups_N: Ints, seed: int) -> float:
    """Return the relative error of an affine map on groups that it was not fitted on.

    Args:
        source_NE: What is mapped; columns may have any unit.
        target_ND: What it should become.
        groups_N: Field or block of each row.
        seed: Deals the groups to folds, as ``build_bridge`` does.

    Raises:
        InputError: As ``build_bridge`` does.
    """
    target, source = _checked(target_ND, source_NE, groups_N, None)
    (source,) = standardise(source, source)
    with single_blas_thread():
        mapped, centre_ND = _map_out_of_fold(target, source, _deal(groups_N, seed), (Form.AFFINE,))
        return measure_fit(mapped[Form.AFFINE], target, centre_ND).error


def _checked(
    champion_ND: Values, challenger_NE: Values, groups_N: Ints, classes_N: Ints | None
) -> tuple[Floats, Floats]:
    """Return both as float64 after refusing what nothing can be said about."""
    widths = [values.shape[-1] for values in (champion_ND, challenger_NE)]
    least = MIN_ANCHORS_PER_VALUE * (max(widths, default=0) + 1)
    champion = require_rows(champion_ND, "the champion's embeddings", least=least)
    challenger = require_rows(challenger_NE, "the challenger's embeddings", least=least)
    lengths = [len(part) for part in (champion, challenger, groups_N)]
    lengths += [] if classes_N is None else [len(classes_N)]
    if len(set(lengths)) > 1:
        raise InputError(
            f"embeddings, groups and classes have {lengths} rows; expected the same anchors"
        )
    if (num_groups := len(np.unique(groups_N))) < MIN_GROUPS:
        raise InputError(
            f"anchors come from {num_groups} groups, expected {MIN_GROUPS} or more: errors are "
            "measured on groups that no map was fitted on"
        )
    if (champion == champion[0]).all():
        raise InputError(
            f"the champion gives all {len(champion)} anchors one embedding, so nothing can be "
            "compared with it; it has collapsed"
        )
    return champion, challenger


def _deal(groups_N: Ints, seed: int) -> Ints:
    """Return the fold of each anchor; groups go whole, as many to each fold."""
    ids, group = np.unique(groups_N, return_inverse=True)
    turn = np.random.default_rng(seed).permutation(len(ids))
    return (turn % NUM_FOLDS)[group]


def _map_out_of_fold(
    champion: Floats, challenger: Floats, fold: Ints, forms: Sequence[Form]
) -> tuple[dict[Form, Floats], Floats]:
    """Return each map's answers for groups it has not seen, and the mean of those it has."""
    mapped = {form: np.empty_like(champion) for form in forms}
    centre_ND = np.empty_like(champion)
    for number in range(NUM_FOLDS):
        held_out = fold == number
        centre_ND[held_out] = champion[~held_out].mean(axis=0)
        for form in forms:
            known = ~held_out
            found = _fit(form, challenger[known], champion[known], fold[known])
            mapped[form][held_out] = challenger[held_out] @ found.matrix_DE + found.shift_E
    return mapped, centre_ND


def _fit(form: Form, source: Floats, target: Floats, fold: Ints) -> AffineMap:
    """Fit a map on all rows, the affine one with the penalty that does best across their folds."""
    if form is not Form.AFFINE:
        return fit_map(form, source, target)
    error = np.zeros(len(RIDGES))
    for number in np.unique(fold):
        inside, outside = fold != number, fold == number
        for place, ridge in enumerate(RIDGES):
            found = fit_map(form, source[inside], target[inside], ridge=ridge)
            missed = source[outside] @ found.matrix_DE + found.shift_E - target[outside]
            error[place] += (missed**2).sum()
    return fit_map(form, source, target, ridge=RIDGES[int(error.argmin())])


def choose_form(fits: Mapping[Form, Fit]) -> Form:
    """Return the simplest map that does: none, else a rotation, else the affine one.

    Args:
        fits: Held-out fit by map; no identity between different widths.
    """
    identity = fits.get(Form.IDENTITY)
    if identity is not None and identity.error <= COMPATIBLE_ERROR:
        return Form.IDENTITY
    rotation, affine = fits[Form.PROCRUSTES].error, fits[Form.AFFINE].error
    enough = max(affine, min(affine + SIMPLER_BY, BRIDGEABLE_ERROR))
    return Form.PROCRUSTES if rotation <= enough else Form.AFFINE


def _transfer(
    champion: Floats, mapped: Mapping[Form, Floats], form: Form, classes_N: Ints | None, fold: Ints
) -> ProbeTransfer | None:
    """Return how a linear head of the champion's fares out of fold, or None without classes."""
    if classes_N is None:
        return None
    rows = np.flatnonzero(classes_N >= 0)
    truth, fold = classes_N[rows].astype(np.int64), fold[rows]
    parts = [champion[rows], mapped[form][rows], mapped.get(Form.IDENTITY, mapped[form])[rows]]
    hits = np.zeros((3, len(rows)))
    for number in range(NUM_FOLDS):
        held_out = fold == number
        if len(np.unique(truth[~held_out])) < 2:
            # Nothing to tell apart, in this fold or anywhere.
            return None
        if not held_out.any():
            continue
        asked = np.concatenate([part[held_out] for part in parts])
        train = parts[0][~held_out]
        known, asked = standardise(train, train, asked)
        predicted = predict_linear(known, truth[~held_out], asked).reshape(3, -1)
        hits[:, held_out] = predicted == truth[held_out]
    own, after, before = hits.mean(axis=1)
    return ProbeTransfer(
        champion=float(own),
        identity=float(before) if Form.IDENTITY in mapped else None,
        mapped=float(after),
        majority=float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
    )


def _judge(form: Form, error: float, probe: ProbeTransfer | None) -> tuple[Verdict, str]:
    """Return the verdict and the number that decided it."""
    if form is not Form.IDENTITY and error > BRIDGEABLE_ERROR:
        return Verdict.INCOMPATIBLE, (
            f"the best map ({form.value}) leaves an error of {error:.3f} on groups it has not "
            f"seen, at most {BRIDGEABLE_ERROR} is allowed"
        )
    if probe is not None and probe.kept < MIN_PROBE_TRANSFER:
        return Verdict.INCOMPATIBLE, (
            f"a head of the champion keeps {probe.kept:.3f} of its accuracy on mapped embeddings "
            f"({form.value}, error {error:.3f}), at least {MIN_PROBE_TRANSFER} is needed"
        )
    if form is Form.IDENTITY:
        return Verdict.COMPATIBLE, (
            f"embeddings as they are differ by an error of {error:.3f}, at most "
            f"{COMPATIBLE_ERROR} is allowed"
        )
    return Verdict.BRIDGEABLE, (
        f"a map ({form.value}) leaves an error of {error:.3f} on groups it has not seen, at most "
        f"{BRIDGEABLE_ERROR} is allowed"
    )
