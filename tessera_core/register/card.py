"""The model card: what a version is, generated from its receipts."""

from collections.abc import Mapping
from typing import Any

from tessera_core.records.evaluation import is_unscored
from tessera_core.records.receipt import Receipt
from tessera_core.records.standing import standings
from tessera_core.register.gate import Decision

SIMULATED = (
    "> Trained and scored on **simulated** scenes: the numbers prove the machinery, "
    "never the science.\n\n"
)

UNSCORED = (
    "> **Unscored**: no task could be scored for want of labels. Nobody knows what this version "
    "is worth.\n\n"
)


def render_card(
    name: str, version: str, pretrain: Receipt, evaluate: Receipt, decision: Decision
) -> str:
    """Return the card as Markdown."""
    facts = pretrain.facts
    lines = [
        f"# {name} version {version}",
        "",
        f"{SIMULATED if evaluate.facts['simulated'] else ''}"
        f"{UNSCORED if is_unscored(evaluate.facts) else ''}"
        "Encoder of Sentinel-1/2 pixel years by the TESSERA method.",
        "",
        f"- decision: **{decision.alias}**: {'; '.join(decision.reasons)}",
        f"- parameters: {facts['num_parameters']:,}",
        _origin(facts),
        f"- model digest: `{facts['model_digest']}`",
        f"- receipts: pretrain `{pretrain.digest}`, evaluate `{evaluate.digest}`",
        f"- code: commit `{pretrain.code.commit}`{' (changed since)' * pretrain.code.dirty}",
        "",
        "| task | model | metric | mean | 95 % interval |",
        "|---|---|---|---|---|",
        *_score_rows(evaluate.facts["headline"]),
        "",
        *(f"- {task}: {sentence}" for task, sentence in standings(evaluate.facts).items()),
        "",
        "Limits: one calendar year per embedding, no spatial context, 10 m pixels. Embeddings of "
        "different versions must not be mixed.",
        "",
    ]
    return "\n".join(lines)


def _origin(facts: Mapping[str, Any]) -> str:
    """Return where the weights come from."""
    if source := facts.get("imported"):
        file = f", from `{source['file']}`, sha256 `{source['sha256']}`" if "file" in source else ""
        return f"- imported, not trained here: family {source['family']}{file}"
    how = "self-supervised: two sparse random temporal views of one d-pixel should agree"
    if facts.get("teacher"):
        how = f"distilled from model `{facts['teacher']}`, so that prefixes can be used alone"
    return (
        f"- trained on {facts['num_train_pixels']:,} d-pixels for {facts['num_steps']} steps, {how}"
    )


def _score_rows(headline: Mapping[str, Any]) -> list[str]:
    return [
        f"| {task} | {model} | {metric} | {value['mean']:.3f} | "
        f"{value['low']:.3f} to {value['high']:.3f} |"
        for task, models in headline.items()
        for model, metrics in models.items()
        for metric, value in metrics.items()
    ]
