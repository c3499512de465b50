"""``tessera settings``: every setting with its value and what it means."""

import argparse
import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from flows.cli.parsers import Commands, add_command
from flows.console import say

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig

EXAMPLES = """\
examples:
  tessera settings                                 the sections
  tessera settings pretrain                        its settings, values and meanings
  tessera settings pretrain --set pretrain.num_steps=800
"""
WIDTH: Final = 100
"""Characters of a line."""


def add_settings_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add it."""
    text = "list settings: value in force, value in params.yaml, meaning"
    parser = add_command(commands, common, "settings", text, _settings)
    parser.add_argument("section", metavar="SECTION", nargs="?", help="one, as pretrain")
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def _settings(chosen: argparse.Namespace) -> int:
    from flows.context import load_context
    from tessera_core.config import PARAMS_NAME, PlatformConfig
    from tessera_core.errors import ConfigError, did_you_mean

    context = load_context(chosen.root, chosen.overrides)
    stored = PlatformConfig.read(context.paths.root / PARAMS_NAME)
    if chosen.section is None:
        for name, meaning in meanings_of(PlatformConfig).items():
            say(f"{name:<10} {len(fields(getattr(stored, name))):>3}  {meaning}")
        say("`tessera settings SECTION` lists them; --set SECTION.NAME=VALUE changes one for a run")
        return 0
    if chosen.section not in stored.to_dict():
        known = did_you_mean(chosen.section, stored.to_dict())
        raise ConfigError(f"there is no section {chosen.section} in {PARAMS_NAME}. {known}")
    for line in describe(chosen.section, context.config, stored):
        say(line)
    return 0


def describe(section: str, config: "PlatformConfig", stored: "PlatformConfig") -> Iterator[str]:
    """Yield the lines about a section: ``name = value``, then what it means.

    Args:
        section: Its name.
        config: The values in force.
        stored: Those of ``params.yaml``, named where another is in force.
    """
    meanings = meanings_of(type(getattr(config, section)))
    before = stored.section(section)
    for name, value in config.section(section).items():
        changed = "" if before[name] == value else f"  (params.yaml: {_shown(before[name])})"
        yield f"{section}.{name} = {_shown(value)}{changed}"
        yield from textwrap.wrap(
            meanings[name], WIDTH, initial_indent="    ", subsequent_indent="    "
        )


def meanings_of(kind: type) -> dict[str, str]:
    """Return field -> the docstring below it, in the order of a dataclass's source.

    A field without one has an empty meaning.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - narrows the type
    found: dict[str, str] = {}
    name = ""
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            found[name] = ""
            continue
        value = statement.value if isinstance(statement, ast.Expr) else None
        if name and isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[name] = " ".join(value.value.replace("``", "`").split())
        name = ""
    return found


def _shown(value: Any) -> str:
    """Return a value as YAML writes it, on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()
