"""The adapter to Great Expectations, and the only module that imports it (about 4 s).

Rules become an expectation suite, small tables become pandas batches of an ephemeral context,
and plain results come back. Nothing is written, drawn or reported anywhere.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import great_expectations as gx
import pandas as pd
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations import (
    Expectation,
    ExpectColumnValuesToBeBetween,
    ExpectColumnValuesToBeInSet,
)

from tessera_core.errors import RecordError
from tessera_core.quality.rule import Rule, RuleResult, Table

RESULT_FORMAT: Final = "COMPLETE"
"""Names every row that fails; the shorter formats stop at 20."""


def validate(rules: Sequence[Rule], tables: Mapping[str, Table]) -> tuple[RuleResult, ...]:
    """Judge every rule on its table; the results stand in the order of the rules.

    Args:
        rules: Names must be unique.
        tables: The tables of ``tables.tables_of`` by name.

    Raises:
        RecordError: A rule could not be evaluated, as when its table lacks the column.
    """
    definition = _batch_definition()
    frames = {name: pd.DataFrame(dict(columns)) for name, columns in tables.items()}
    found: dict[str, RuleResult] = {}
    for (table, bands), group in _groups(rules).items():
        frame = frames[table]
        if bands is not None:
            frame = frame[frame["band"].isin(bands)]
        found.update(_validate_group(definition, frame, group))
    return tuple(found[rule.name] for rule in rules)


def expectation(rule: Rule) -> Expectation:
    """Return the rule in the words of Great Expectations."""
    meta = {"rule": rule.name, "next_step": rule.next_step}
    if rule.allowed is not None:
        return ExpectColumnValuesToBeInSet(
            column=rule.column, value_set=list(rule.allowed), meta=meta
        )
    return ExpectColumnValuesToBeBetween(
        column=rule.column, min_value=rule.minimum, max_value=rule.maximum, meta=meta
    )


def _batch_definition() -> BatchDefinition[Any]:
    with _quiet():
        context = gx.get_context(mode="ephemeral")
    # Set here, not through the environment: what the core does follows from its arguments.
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("statistics").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("all")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep its news about temporary folders off the console."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _groups(rules: Sequence[Rule]) -> dict[tuple[str, tuple[str, ...] | None], list[Rule]]:
    """Return the rules by the rows that they look at."""
    groups: dict[tuple[str, tuple[str, ...] | None], list[Rule]] = {}
    for rule in rules:
        groups.setdefault((rule.table, rule.bands), []).append(rule)
    return groups


def _validate_group(
    definition: BatchDefinition[Any], frame: pd.DataFrame, rules: Sequence[Rule]
) -> dict[str, RuleResult]:
    """Judge rules on one frame, whose index is the position in the whole table."""
    suite = gx.ExpectationSuite(
        name=rules[0].name, expectations=[expectation(rule) for rule in rules]
    )
    batch = definition.get_batch({"dataframe": frame})
    by_name = {rule.name: rule for rule in rules}
    # Results come in an order of their own; the rule's name leads back.
    results = batch.validate(suite, result_format=RESULT_FORMAT).results
    return {
        rule.name: _rule_result(rule, result, len(frame))
        for result in results
        for rule in [by_name[_name_of(result)]]
    }


def _name_of(result: ExpectationValidationResult) -> str:
    configuration = result.expectation_config
    if configuration is None or configuration.meta is None:
        raise RecordError("Great Expectations returned a result without its rule")
    return str(configuration.meta["rule"])


def _rule_result(rule: Rule, result: ExpectationValidationResult, num_rows: int) -> RuleResult:
    rows = tuple(sorted(int(row) for row in result.result.get("unexpected_index_list") or ()))
    if not result.success and not rows:
        raise RecordError(
            f"rule {rule.name} could not be evaluated on column {rule.column} of the "
            f"{rule.table} table: {_exception_message(result)}"
        )
    return RuleResult(rule=rule, num_checked=num_rows, failed_rows=rows)


def _exception_message(result: ExpectationValidationResult) -> str:
    details = [part for part in (result.exception_info or {}).values() if isinstance(part, dict)]
    messages = sorted({str(part.get("exception_message")) for part in details})
    return "; ".join(messages) or "no reason given"
