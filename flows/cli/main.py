"""The ``tessera`` command. Heavy libraries load only once a command needs them."""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from flows.cli.cycle import add_cycle_commands
from flows.cli.lineage import add_lineage_commands
from flows.cli.models import add_model_commands
from flows.cli.parsers import Commands
from flows.cli.servers import add_server_commands
from flows.cli.settings import add_settings_command
from flows.cli.versions import add_version_commands
from flows.console import complain, heartbeat
from tessera_core import __version__

if TYPE_CHECKING:
    from tessera_core.errors import TesseraError

EXAMPLES = """\
examples:
  tessera retrain                                  the whole cycle with params.yaml
  tessera retrain --set pretrain.num_steps=800     the same in a workspace of its own
  tessera retrain --set ingest.source=tiles --set ingest.path=../tiles/flanders-2018
  tessera sweep --grid pretrain.peak_lr=0.005,0.01 --grid pretrain.seed=17,18
  tessera import-weights student.pt --family v2-student --name tessera-v2
  tessera embed --model tessera-v2 --tile tiles/33UXP --out embeddings --dim 64
  tessera benchmark tessera/1 --task crop_type     score any version on any task, later
  tessera compare tessera/1 tessera/2              what changed and what it did, as one page
  tessera promote 1 --by Ann --reason "seams in 2" overrule the gate; both are kept for audits
  tessera replay tessera/1                         run its stages again; do they give the same?
  tessera audit                                    verify every digest of the last export
  tessera recall SCENE                             what has seen a bad scene, what to run again
  tessera attest tessera/2 --key KEY.pem           signed provenance, ML-BOM, cards, lineage
  tessera rebuild-tracking                         a lost MLflow database, from receipts
  tessera sync                                     lineage to and from the team's other checkouts
  tessera ui                                       Prefect and MLflow in the browser
  tessera schedule                                 retrain every Monday, until Ctrl-C
  tessera settings pretrain                        what can be set, its values and meanings

exit codes: 0 done, 1 the tool failed, 2 bad usage or input, 3 a gate said no
"""
GROUPS: Final[Mapping[str, Callable[[Commands, argparse.ArgumentParser], None]]] = {
    "run the cycle": add_cycle_commands,
    "compare and decide": add_version_commands,
    "use a model": add_model_commands,
    "prove the lineage, and mend what it stands on": add_lineage_commands,
    "see what runs, and run it on a schedule": add_server_commands,
    "see the settings": add_settings_command,
}
"""What commands are for -> what adds them; in this order in --help."""

SPEAKING: Final = ("retrain", "sweep", "ui", "schedule", "prefect")
"""Commands that say by themselves what they are at."""

WIDTH: Final = 98
"""Characters of a line of --help."""

NEGATIVE: Final = re.compile(r"-(?:\d+\.?\d*|\.\d+)[eE][+-]?\d{1,3}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from tessera_core.terminal import keep_for_ourselves

    keep_for_ourselves()
    words = sys.argv[1:] if arguments is None else arguments
    chosen = build_parser().parse_args(_plain_numbers(words))
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        with nullcontext() if chosen.name in SPEAKING else heartbeat(chosen.name):
            return command(chosen)
    except Exception as error:
        # In a function of its own: a name for the error here would keep what it holds open.
        code = _tell(error, getattr(chosen, "root", "."))
        if code is None:
            raise
        return code
    except KeyboardInterrupt:
        complain("interrupted; a run that is started again goes on where it stopped")
        return 130


def _tell(error: Exception, root: str) -> int | None:
    """Tell an error and return its exit code; None where it is a fault of ours."""
    fault = _told(error, root)
    if fault is None:
        return None
    complain(str(fault))
    return fault.exit_code


def _told(error: Exception, root: str) -> "TesseraError | None":
    """Return an error as the sentence that the user reads; None where it is a fault of ours."""
    from pathlib import Path

    from tessera_core.errors import RemoteError, StorageError, TesseraError
    from tessera_core.records.faults import comes_from_sqlite, machine_fault

    # MLflow's database beside us is no service: what the machine says of it helps more.
    if isinstance(error, TesseraError) and not (
        isinstance(error, RemoteError) and comes_from_sqlite(error)
    ):
        return error
    if (fault := machine_fault(error, Path(root).absolute())) is not None:
        return fault
    if isinstance(error, OSError) and error.filename is not None:
        return StorageError(f"cannot use {error.filename}: {error.strerror}")
    return error if isinstance(error, TesseraError) else None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tessera",
        description="Own a TESSERA model: retrain it, compare its versions, prove its lineage.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tessera {__version__}")
    # Listed in the description, by what they are for.
    commands = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=".", help="checkout with params.yaml (default: here)")
    common.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", dest="overrides",
        help="override a setting; may be repeated; the run gets its own workspace",
    )  # fmt: skip
    listed = [parser.description or ""]
    for title, add_commands in GROUPS.items():
        known = set(commands.choices)
        add_commands(commands, common)
        listed.append(f"\n{title}:")
        for name, command in commands.choices.items():
            if name not in known:
                listed += _entry(name, command.description or "")
    parser.description = "\n".join(listed)
    parser.usage = "tessera COMMAND ... | --help | --version"
    return parser


def _entry(name: str, text: str) -> list[str]:
    """Return the lines that list a command."""
    return textwrap.wrap(
        f"{name:<18}{text}", WIDTH, initial_indent="  ", subsequent_indent=" " * 20
    )


def _plain_numbers(arguments: Sequence[str]) -> list[str]:
    """Return arguments with numbers as -1e-05 written out: argparse takes them for options."""
    return [format(Decimal(word), "f") if NEGATIVE.fullmatch(word) else word for word in arguments]


if __name__ == "__main__":
    sys.exit(main())
