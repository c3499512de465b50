"""Model card and datasheet, in Markdown, with the numbers of the run."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tessera_core.lineage.attest.attested import Attested
from tessera_core.records.files import FileDigest
from tessera_core.register.card import SIMULATED, render_card
from tessera_core.register.gate import CHAMPION, Decision

USES: Final = (
    "Features of 10 m pixels for small heads: crop type, land cover, canopy height, search.",
)
USERS: Final = ("Earth observation engineers and scientists who bring their own labels.",)
LIMITS: Final = (
    "One calendar year per embedding, no spatial context, 10 m pixels.",
    "Embeddings of different versions must not be mixed.",
    "Scores hold for the tasks, places and years they were measured on; elsewhere measure again.",
    "A pixel without a clear date has no embedding: its scale is NaN.",
)
NOT_FOR: Final = (
    "Decisions about persons or single holdings without a check on the ground.",
    "Comparison with embeddings of another version, unless a bridge was fitted and accepted.",
)


def render_model_card(subject: Attested) -> str:
    """Return the registered card, with uses, limits, training and provenance added."""
    pretrain, evaluate = subject.stage("pretrain"), subject.stage("evaluate")
    card = render_card(
        subject.model_name, subject.version, pretrain, evaluate, decision_of(subject)
    )
    facts = evaluate.facts
    absent = ", ".join(sorted(facts.get("skipped", {}))) or "none"
    lines = [
        *_section("Intended use", _list((*USES, *USERS))),
        *_section("Not intended for", _list(NOT_FOR)),
        *_section("Limitations", _list(LIMITS)),
        *_section(
            "Evaluation",
            _list(
                (
                    "Intervals are 95 %, by bootstrap over groups (fields, blocks), not pixels.",
                    *_digests(facts, "protocol_digest", "labels_digest"),
                    f"Tasks without data here: {absent}.",
                )
            ),
        ),
        *_section("Training settings", _settings(pretrain.config)),
        *_section("Provenance", _provenance(subject)),
    ]
    return f"{card}\n" + "\n".join(lines)


def render_datasheet(subject: Attested) -> str:
    """Return the datasheet of the sample set, by the questions of Gebru et al. (2021)."""
    ingest, quality = subject.stage("ingest"), subject.stage("quality")
    shuffle = subject.stage("shuffle")
    facts, samples = ingest.facts, subject.manifests["samples"]
    size = sum(file.size for file in samples.files)
    settings = ingest.config.get("ingest", {})
    lines = [
        f"# Datasheet of the samples behind {subject.model_name} version {subject.version}",
        "",
        *([SIMULATED.rstrip("\n"), ""] if subject.simulated else []),
        *_section(
            "Motivation",
            ["Self-supervised training and scoring of encoders of Sentinel-1/2 pixel years."],
        ),
        *_section(
            "Composition",
            _list(
                (
                    f"{facts['num_pixels']:,} d-pixels in {len(facts['tiles']):,} tiles and years; "
                    "a d-pixel is one 10 m pixel's calendar year of Sentinel-2 reflectance, scene "
                    "classes and Sentinel-1 backscatter by orbit.",
                    f"{len(samples.files):,} Parquet files, {size:,} bytes; digest "
                    f"`{samples.digest}`.",
                    f"Splits by spatial block: {_counts(shuffle.facts['num_pixels'])}.",
                    "No labels, no persons, no confidential content.",
                )
            ),
            "",
            "| tile / year | d-pixels |",
            "|---|---|",
            *(f"| {name} | {count:,} |" for name, count in sorted(facts["tiles"].items())),
        ),
        *_section(
            "Collection process",
            _list(
                (
                    f"Source `{facts.get('source', 'unknown')}`: {_sources(ingest.sources)}; the "
                    f"ingest receipt `{ingest.digest}` lists each with its sha256.",
                    "Each tile's scenes table leads every observation back to its acquisition.",
                )
            ),
            "",
            *_settings({"ingest": settings}),
        ),
        *_section(
            "Preprocessing and quality",
            _list(
                (
                    "Baseline offset removed; no observation dropped, the scene class is kept, so "
                    "that masks stay a choice of the reader.",
                    f"Quality gate: **{quality.facts.get('verdict', 'no verdict')}**, "
                    f"{quality.facts.get('num_failures', '?')} failures of "
                    f"{quality.facts.get('num_rules', '?')} rules.",
                    f"Shuffled over all tiles with seed {shuffle.facts.get('seed', '?')}.",
                )
            ),
        ),
        *_section("Uses", _list((*USES, *(f"Not: {each}" for each in NOT_FOR)))),
        *_section(
            "Distribution and maintenance",
            _list(
                (
                    f"Licence: {licence_of(subject)[0]}.",
                    "Versioned by DVC; later samples are another digest, never the same one.",
                )
            ),
        ),
    ]
    return "\n".join(lines)


def decision_of(subject: Attested) -> Decision:
    """Return what the gate decided about the version when it was registered."""
    if subject.registered is None:
        return Decision(alias=CHAMPION, reasons=("the lineage knows it as champion only",))
    decision = subject.registered.facts.get("decision") or {}
    return Decision(alias=decision.get("alias", ""), reasons=tuple(decision.get("reasons", ())))


def licence_of(subject: Attested) -> tuple[str, str]:
    """Return name and address of the terms that the samples stand under."""
    if subject.simulated:
        return "MIT, simulated by this software", "https://spdx.org/licenses/MIT.html"
    return (
        "Copernicus Sentinel data, legal notice on their use",
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    )


def headline_rows(subject: Attested) -> list[tuple[str, str, str, Mapping[str, float]]]:
    """Return task, head, metric and value of every score of this model, not of baselines."""
    return [
        (task, model, metric, value)
        for task, models in sorted(subject.stage("evaluate").facts["headline"].items())
        for model, metrics in sorted(models.items())
        for metric, value in sorted(metrics.items())
        if model.startswith("encoder")
    ]


def _section(title: str, *parts: str | list[str]) -> list[str]:
    lines = [line for part in parts for line in ([part] if isinstance(part, str) else part)]
    return [f"## {title}", "", *lines, ""]


def _list(sentences: Iterable[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _settings(config: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {section}.{name} | `{json.dumps(value)}` |"
        for section, settings in sorted(config.items())
        for name, value in sorted(settings.items())
    ]
    return ["| setting | value |", "|---|---|", *rows]


def _provenance(subject: Attested) -> list[str]:
    rows = [
        f"| {receipt.stage} | `{digest}` | `{receipt.code.commit}`"
        f"{' (changed since)' * receipt.code.dirty} |"
        for digest, receipt in subject.receipts.items()
    ]
    return ["| stage | receipt | commit |", "|---|---|---|", *rows]


def _digests(facts: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{name.replace('_', ' ')}: `{facts[name]}`" for name in names if name in facts]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _sources(files: tuple[FileDigest, ...]) -> str:
    return f"{len(files):,} files, {sum(file.size for file in files):,} bytes"
