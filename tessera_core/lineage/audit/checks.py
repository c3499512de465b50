"""What the receipts of a chain say of each other, and of the gates they passed."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.outputs import Verified
from tessera_core.lineage.audit.report import Finding, Grade, counted
from tessera_core.records.evaluation import UNSCORED, is_unscored
from tessera_core.records.receipt import Receipt
from tessera_core.records.samples import SCENES_NAME, read_table
from tessera_core.records.schema import SCENES

UNKNOWN_COMMIT: Final = "unknown"
PASSED: Final = "passed"
CHAMPION_FACT: Final = "champion_receipts"
NO_DATA: Final = "the folder of benchmark data holds no"
"""How evaluate begins to say that a task has no data. Stated here too: an audit does not ask what
it audits."""

REPEAT: Final = "run `tessera retrain` again from a clean state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All receipts that an export stands on."""

    start: str
    """Digest of the first receipt."""

    receipts: Mapping[str, Verified]
    """By digest."""

    def of_stage(self, stage: str) -> list[Verified]:
        """Return the receipts of one stage."""
        return [each for each in self.receipts.values() if each.receipt.stage == stage]

    def follow(self, start: Verified, *stages: str) -> Verified | None:
        """Return the receipt reached through upstream digests, or None where one is lacking."""
        reached: Verified | None = start
        for stage in stages:
            if reached is None:
                return None
            reached = self.receipts.get(reached.receipt.upstream.get(stage, ""))
        return reached

    def champion(self, register: Verified, stage: str) -> Verified | None:
        """Return a receipt of the run that made the champion."""
        return self.receipts.get(champion_receipts(register.receipt).get(stage, ""))


def champion_receipts(receipt: Receipt) -> Mapping[str, str]:
    """Return the receipts of the champion's run that register names, by stage."""
    named: Mapping[str, str] = receipt.facts.get(CHAMPION_FACT) or {}
    return named


def has_champion(receipt: Receipt) -> bool:
    """Return whether a registration left a champion: only one that says so itself left none."""
    return receipt.facts.get("champion", {}) is not None


def check_chain(chain: Chain) -> list[Finding]:
    """Return what is inconsistent or noteworthy between the receipts."""
    checks: Sequence[Callable[[Chain], Iterator[Finding]]] = (
        _gates, _agreements, _models, _inputs, _scenes, _code, _remarks,
    )  # fmt: skip
    return [finding for check in checks for finding in check(chain)]


def _gates(chain: Chain) -> Iterator[Finding]:
    """Every set of samples in the chain must have passed the quality gate."""
    judged = set()
    for each in chain.of_stage("quality"):
        verdict = each.receipt.facts.get("verdict")
        if verdict == PASSED:
            judged.add(each.receipt.upstream.get("ingest"))
        else:
            yield _block(each, f"its verdict is {verdict!r}, expected {PASSED!r}", REPEAT)
    for each in chain.of_stage("ingest"):
        if each.digest not in judged:
            yield _block(
                each,
                "no quality receipt in the chain passed these samples",
                "run `tessera quality` on them, then shuffle and pretrain again",
            )


def _agreements(chain: Chain) -> Iterator[Finding]:
    """Two ways to the same stage must end at the same receipt."""
    for each in chain.of_stage("shuffle"):
        if _differ(chain.follow(each, "ingest"), chain.follow(each, "quality", "ingest")):
            yield _block(each, "it shuffled other samples than quality verified", REPEAT)
    for each in chain.of_stage("register"):
        if _differ(chain.follow(each, "pretrain"), chain.follow(each, "evaluate", "pretrain")):
            yield _block(each, "the scores it decided by are another model's", REPEAT)
        scored = chain.champion(each, "evaluate")
        trained = chain.champion(each, "pretrain")
        if scored and _differ(trained, chain.follow(scored, "pretrain")):
            yield _block(each, "the champion's scores are another model's", REPEAT)
    for each in chain.of_stage("evaluate"):
        trained_on = chain.follow(each, "pretrain", "shuffle", "ingest")
        if _differ(chain.follow(each, "ingest"), trained_on):
            yield _finding(
                Grade.NOTE, each, "it scored on other samples than the model was trained on",
                "nothing, if that was meant",
            )  # fmt: skip


def _models(chain: Chain) -> Iterator[Finding]:
    """The exported vectors must come from the model that the champion's run made."""
    for each in chain.of_stage("pretrain"):
        claimed = each.receipt.facts.get("model_digest")
        if each.manifests and claimed not in _manifest_digests(each):
            yield _block(each, f"it made no model with the digest {claimed} it states", REPEAT)
    for export in chain.of_stage("export"):
        register = chain.follow(export, "register")
        trained = chain.champion(register, "pretrain") if register else None
        used = export.receipt.facts.get("model_digest")
        if trained and used != trained.receipt.facts.get("model_digest"):
            yield _block(
                export,
                f"it embedded with model {str(used)[:12]}, which the champion's pretrain receipt "
                "did not make",
                "run `tessera register` and `tessera export` again",
            )


def _inputs(chain: Chain) -> Iterator[Finding]:
    """What a stage says it read must be what its upstream receipt made."""
    for stage, fact, upstream in (
        ("pretrain", "shards", "shuffle"),
        ("export", "samples_digest", "ingest"),
    ):
        for each in chain.of_stage(stage):
            made_by = chain.follow(each, upstream)
            read = each.receipt.facts.get(fact)
            if made_by and made_by.manifests and read not in _manifest_digests(made_by):
                yield _block(
                    each,
                    f"it read {fact} {str(read)[:12]}, which its {upstream} receipt did not make",
                    f"run `tessera {stage}` again",
                )


def _scenes(chain: Chain) -> Iterator[Finding]:
    """Every scene that a samples table names must be a source of its ingest receipt."""
    for each in chain.of_stage("ingest"):
        known = {source.path: source.sha256 for source in each.receipt.sources}
        for name, path in sorted(each.files.items()):
            if not name.endswith(f"/{SCENES_NAME}"):
                continue
            try:
                table = read_table(path, SCENES)
            except RecordError as error:
                yield _named(Grade.BLOCK, name, str(error), "run `tessera ingest` again", each)
                continue
            rows = zip(table["href"].to_pylist(), table["sha256"].to_pylist(), strict=True)
            local = {(href, sha256) for href, sha256 in rows if "://" not in href}
            strange = sorted(href for href, sha256 in local if known.get(href) != sha256)
            if strange:
                yield _named(
                    Grade.BLOCK,
                    name,
                    f"{len(strange)} scenes, as {strange[0]}, are not the sources that the "
                    "ingest receipt lists",
                    "run `tessera ingest` again",
                    each,
                )


def _code(chain: Chain) -> Iterator[Finding]:
    """Code without a clean commit can be named, but not fetched again."""
    stages: dict[tuple[str, bool], list[Verified]] = defaultdict(list)
    for each in chain.receipts.values():
        stages[each.receipt.code.commit, each.receipt.code.dirty].append(each)
    for (commit, is_dirty), about in sorted(stages.items(), key=lambda item: item[0]):
        artefact = f"code of {', '.join(each.receipt.stage for each in about)}"
        if commit == UNKNOWN_COMMIT:
            yield _named(
                Grade.WARN,
                artefact,
                "the git commit is unknown; only the digest of the sources is",
                "run from a git checkout",
                *about,
            )
        elif is_dirty:
            yield _named(
                Grade.WARN,
                artefact,
                f"the code was changed since commit {commit[:12]}",
                "commit, then run again",
                *about,
            )


def _remarks(chain: Chain) -> Iterator[Finding]:
    environments = {each.receipt.environment for each in chain.receipts.values()}
    if len(environments) > 1:
        yield _named(
            Grade.NOTE,
            "environments",
            f"the stages ran with {len(environments)} sets of library versions",
            "nothing, unless a replay differs",
        )
    knowing = (*chain.of_stage("ingest"), *chain.of_stage("evaluate"))
    if any(each.receipt.facts.get("simulated") for each in knowing):
        yield _named(
            Grade.NOTE,
            "scenes",
            "the model was trained on simulated scenes, or embeds them: this proves the "
            "machinery, never the science",
            "ingest real scenes for results that mean something",
        )
    for each in chain.of_stage("register"):
        yield from _worth(each, chain)
    yield from _unscored(chain)


def _unscored(chain: Chain) -> Iterator[Finding]:
    """Tasks that were asked for and not scored, and in one line those that have no data here."""
    unscored: set[tuple[str, str]] = set()
    absent: set[tuple[str, str]] = set()
    for each in chain.of_stage("evaluate"):
        asked = (each.receipt.config.get("evaluate") or {}).get("tasks") or ()
        for task, reason in (each.receipt.facts.get("skipped") or {}).items():
            is_offered = task not in asked and str(reason).startswith(NO_DATA)
            (absent if is_offered else unscored).add((task, str(reason)))
    for task, reason in sorted(unscored):
        yield _named(
            Grade.NOTE,
            "evaluation",
            f"skipped {task}: {reason}",
            "bring labels (evaluate.labels) to have it scored",
        )
    if names := sorted({task for task, _ in absent}):
        yield _named(
            Grade.NOTE,
            "evaluation",
            f"{counted(len(names), 'declared benchmark')} that nobody asked for by name "
            f"{'has' if len(names) == 1 else 'have'} no data here ({', '.join(names)})",
            "nothing, unless they are to be scored: docs/how-to/benchmarks.md says where data goes",
        )


def _worth(register: Verified, chain: Chain) -> Iterator[Finding]:
    """Say of a registration that it left no champion, or one that was never scored."""
    if not has_champion(register.receipt):
        yield _finding(
            Grade.NOTE, register, "the rule made no version champion, so nothing was exported",
            "`tessera promote`, where a person knows better",
        )  # fmt: skip
    scored = chain.champion(register, "evaluate")
    if scored and is_unscored(scored.receipt.facts):
        yield _finding(
            Grade.NOTE, register,
            f"the champion is {UNSCORED}",
            "bring labels (evaluate.labels) and run again",
        )  # fmt: skip


def _manifest_digests(verified: Verified) -> set[str]:
    return {manifest.digest for manifest in verified.manifests.values()}


def _differ(first: Verified | None, second: Verified | None) -> bool:
    """Return whether both are known and are not the same; absence is a finding elsewhere."""
    return first is not None and second is not None and first.digest != second.digest


def _block(each: Verified, problem: str, next_step: str) -> Finding:
    return _finding(Grade.BLOCK, each, problem, next_step)


def _finding(grade: Grade, each: Verified, problem: str, next_step: str) -> Finding:
    artefact = f"{each.receipt.stage} receipt {each.digest[:12]}"
    return _named(grade, artefact, problem, next_step, each)


def _named(grade: Grade, artefact: str, problem: str, next_step: str, *about: Verified) -> Finding:
    return Finding(
        grade=grade,
        artefact=artefact,
        problem=problem,
        next_step=next_step,
        concerns=tuple(each.digest for each in about),
    )
