"""Commands about models: import-weights, embed."""

import argparse

from flows.cli.parsers import OR_ARTIFACT, SUBJECT, Commands, add_command
from flows.console import say


def add_model_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add them all."""
    _add_import(commands, common)
    _add_embed(commands, common)


def _add_import(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``import-weights``."""
    from tessera_core.model.family import Family

    text = "make a released TESSERA checkpoint a registered model"
    parser = add_command(commands, common, "import-weights", text, _import_weights)
    parser.add_argument("file", metavar="FILE", help="checkpoint (.pt); never unpickled")
    parser.add_argument(
        "--family",
        required=True,
        choices=[family.value for family in Family],
        help="release that it is",
    )
    parser.add_argument("--name", required=True, help="name in the registry")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=VALUE",
        help="what the file does not tell, as num_heads=4 or s1_num_heads=2; may be repeated",
    )  # fmt: skip


def _add_embed(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``embed``."""
    text = "embed TESSERA tile directories with a registered model"
    parser = add_command(commands, common, "embed", text, _embed)
    parser.add_argument("--model", required=True, metavar="SUBJECT", help=f"{SUBJECT}{OR_ARTIFACT}")
    parser.add_argument("--tile", required=True, nargs="+", metavar="DIR", help="tile directories")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the NPY files go")
    parser.add_argument("--dim", type=int, metavar="K", help="a width that the model orders by")
    parser.add_argument(
        "--float32", action="store_true",
        help="write float32 values, not int8 codes (scales still mark no data by NaN)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of v1.0's random sampling")
    parser.add_argument("--repeats", type=int, default=1, help="random draws to average")
    parser.add_argument(
        "--bfloat16", action="store_true",
        help="multiply in bfloat16: faster where the device has it, about as inexact as int8",
    )  # fmt: skip


def _import_weights(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context, require_writable
    from flows.servers.probe import require_mlflow
    from flows.services.models import import_weights, parse_shapes

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    require_mlflow(context.settings)
    stated = parse_shapes(chosen.shape)
    version, folder, notes = import_weights(
        context, Path(chosen.file), chosen.family, chosen.name, stated
    )
    for note in notes:
        say(note)
    say(f"{chosen.name} version {version} is registered; its artifact is {folder}")
    return 0


def _embed(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context
    from flows.services.models import load_model
    from tessera_core.errors import InputError

    context = load_context(chosen.root, chosen.overrides)
    if chosen.repeats < 1:
        raise InputError(f"--repeats is {chosen.repeats}, expected 1 or more")
    if not 0 <= chosen.seed < 2**64:
        raise InputError(f"--seed is {chosen.seed}, expected 0 up to below 2^64")
    out = Path(chosen.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file, expected a folder")
    names = [Path(tile).resolve().name for tile in chosen.tile]
    written = [f"{name}{end}" for name in names for end in ("", "_scales")]
    if twice := sorted({name for name in written if written.count(name) > 1}):
        raise InputError(
            f"two tiles would be written to {twice[0]}.npy; embed them to different folders"
        )
    from tessera_core.export.directory import Inference, embed_directory
    from tessera_core.model.artifact import best_device

    artifact = load_model(context, chosen.model, best_device())
    if chosen.bfloat16:
        artifact = artifact.in_bfloat16()
    how = Inference(dim=chosen.dim, seed=chosen.seed, repeats=chosen.repeats)
    for tile in chosen.tile:
        done = embed_directory(Path(tile), out, artifact, how, as_float=chosen.float32)
        rows, columns = done.shape
        say(f"{done.values}: {done.num_embedded:,} of {rows * columns:,} pixels have an embedding")
    return 0
