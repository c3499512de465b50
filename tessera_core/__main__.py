"""``python -m tessera_core <stage>``: one stage without Prefect or MLflow, as DVC runs it."""

import argparse
import sys
from pathlib import Path

STAGES_WITHOUT_REGISTRY = (
    "ingest", "quality", "shuffle", "pretrain", "evaluate", "export", "audit",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one stage in the current folder and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tessera_core",
        description="Run one stage with the settings in params.yaml; dvc.yaml calls this.",
    )
    parser.add_argument("stage", choices=STAGES_WITHOUT_REGISTRY)
    parser.add_argument("--root", default=".", help="checkout with params.yaml")
    parser.add_argument("--workspace", help="folder of the outputs (default: the checkout)")
    parser.add_argument("--params", help="settings (default: params.yaml of the checkout)")
    parser.add_argument(
        "--ranks-only", action="store_true",
        help="pretrain under torchrun: train to the last checkpoint, which the stage then reads",
    )  # fmt: skip
    parser.add_argument("--report", help="file for the numbers of rank 0")
    chosen = parser.parse_args(arguments)

    from tessera_core.config import PARAMS_NAME, PlatformConfig
    from tessera_core.errors import TesseraError
    from tessera_core.ports import OFFLINE
    from tessera_core.records.faults import machine_fault
    from tessera_core.records.paths import Paths
    from tessera_core.stages import run_stage
    from tessera_core.terminal import keep_for_ourselves

    keep_for_ourselves()
    root = Path(chosen.root).absolute()
    try:
        config = PlatformConfig.read(Path(chosen.params or root / PARAMS_NAME))
        paths = Paths(root=root, workspace=Path(chosen.workspace or root).absolute())
        if chosen.ranks_only:
            from tessera_core.pretrain.launch import train_as_rank

            train_as_rank(config, paths, Path(chosen.report) if chosen.report else None)
            return 0
        result = run_stage(chosen.stage, config, paths, OFFLINE)
    except Exception as error:
        told = error if isinstance(error, TesseraError) else machine_fault(error, root)
        if told is None:
            raise
        print(f"tessera: {told}", file=sys.stderr)
        return told.exit_code
    print(f"{chosen.stage} {'reused' if result.reused else 'done'} [{result.receipt.digest[:12]}]")
    for remark in result.receipt.facts.get("remarks", ()):
        print(f"tessera: WARNING: {remark}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
