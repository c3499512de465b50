"""How a command of ``tessera`` is added; shared by all that add some."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction

SUBJECT: Final = (
    "VERSION, NAME/VERSION, NAME@ALIAS, NAME (its champion, else its newest version), or an "
    "export's name or folder"
)
"""What a version or an export may be called, in every command."""

OR_ARTIFACT: Final = "; or a folder with a model's artifact"


def add_subject(
    parser: argparse.ArgumentParser, name: str, note: str = "", *, has_default: bool = False
) -> None:
    """Add an argument that names a version or an export, with the words of all commands.

    Args:
        parser: Of the command.
        name: Of the argument.
        note: What else is to be said of it.
        has_default: Whether it may be left out for the current export.
    """
    default = " (default: the current export)" if has_default else ""
    parser.add_argument(
        name, metavar="SUBJECT", nargs="?" if has_default else None,
        help=f"{SUBJECT}{note}{default}",
    )  # fmt: skip


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
    name: str,
    text: str,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add one command."""
    parser = commands.add_parser(name, help=text, description=text, parents=[common])
    parser.set_defaults(command=command, name=name)
    return parser
