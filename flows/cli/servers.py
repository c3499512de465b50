"""Commands about servers: ui, schedule, prefect."""

import argparse

from flows.cli.parsers import Commands, add_command

PREFECT_EXAMPLE = """\
example:
  tessera prefect deployment run retrain/manual -p 'overrides=["pretrain.seed=18"]'
"""


def add_server_commands(commands: Commands, _: argparse.ArgumentParser) -> None:
    """Add them all; what they start takes no settings of one run."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=".", help="checkout with params.yaml (default: here)")
    parser = add_command(commands, common, "ui", "start Prefect and MLflow on loopback", _ui)
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    text = "work on the deployments of prefect.yaml, on a Prefect server of our own or a given one"
    parser = add_command(commands, common, "schedule", text, _schedule)
    parser.add_argument("--prefect-port", type=int, default=4200)
    text = "run a command of Prefect's own with the checkout's settings and password"
    parser = add_command(commands, common, "prefect", text, _prefect)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD")
    parser.epilog = PREFECT_EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def _ui(chosen: argparse.Namespace) -> int:
    from flows.context import load_context
    from flows.servers.probe import require_servers
    from flows.servers.ui import serve

    context = load_context(chosen.root, serves=True)
    require_servers(context.settings)
    serve(context, prefect_port=chosen.prefect_port, mlflow_port=chosen.mlflow_port)
    return 0


def _schedule(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable
    from flows.servers.probe import require_locked, require_servers
    from flows.servers.schedule import schedule

    context = load_context(chosen.root, serves=True)
    require_writable(context.paths.root)
    require_servers(context.settings)
    if context.settings.prefect_api_url:
        require_locked(context.settings.prefect_api_url)
    schedule(context, port=chosen.prefect_port)
    return 0


def _prefect(chosen: argparse.Namespace) -> int:
    from flows.context import load_context
    from flows.servers.probe import require_prefect
    from flows.servers.schedule import run_prefect

    context = load_context(chosen.root, serves=True)
    require_prefect(context.settings)
    return run_prefect(chosen.words)
