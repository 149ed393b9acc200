"""What all commands share: the group, its options, and the one boundary that tells errors from faults."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from persona_pipelines import __version__
from persona_pipelines.cli.printing import keep_terminal, warn
from persona_pipelines.cli.progress import progress
from persona_pipelines.errors import ProjectError, StateError, fault, is_of_the_state, of_the_state
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.vocabulary import OF_DEVICES_ALONE

if TYPE_CHECKING:
    from persona_pipelines.orchestration.runs import RunResult
    from persona_pipelines.warehouse.connection import Warehouse

INTERRUPTED, TERMINATED = 130, 143
FAULT = 70
"""Exit code of a fault of this package (EX_SOFTWARE)."""


class CommandError(ProjectError):
    """A command cannot be done as it was asked."""


class Group(click.Group):
    """A list of commands in which the first sentence of each stands whole, over as many lines as it takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        told = [(name, command) for name in self.list_commands(ctx) if (command := self.get_command(ctx, name)) and not command.hidden]
        if told:
            with formatter.section("Commands"):
                formatter.write_dl([(name, _first_sentence(command.help or "")) for name, command in told])


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


class Commands(Group):
    """The boundary: what a person can act on is one sentence, an interrupt its exit code, anything else a fault with a report."""

    group_class = Group

    def invoke(self, ctx: click.Context) -> object:
        before = signal.signal(signal.SIGTERM, _stop)
        keep_terminal()
        try:
            return self._invoked(ctx)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _invoked(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ProjectError as error:
            _refuse(error)
        except click.ClickException as error:
            # It may show an argument as it was given.
            warn(_usage_of(error))
            sys.exit(error.exit_code)
        except KeyboardInterrupt as interrupt:
            warn(f"{str(interrupt) or 'Interrupted'}.")
            sys.exit(exit_code(interrupt))
        except MemoryError:
            warn("Error: out of memory. The tables keep their last completed state; the engine's share of it is warehouse.memory_limit.")
            sys.exit(1)
        except BrokenPipeError:
            # Whoever reads the output has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except Exception as error:
            if is_of_the_state(error):
                _refuse(of_the_state(error, _home()))
            if isinstance(error, click.exceptions.Exit | click.Abort):
                raise
            warn(f"Error: {fault(type(error).__name__, str(error), ''.join(traceback.format_exception(error)), ' '.join(sys.argv[1:2]))}")
            sys.exit(FAULT)


def _refuse(error: ProjectError) -> NoReturn:
    warn(f"Error: {as_called(str(error))}")
    sys.exit(1)


def _usage_of(error: click.ClickException) -> str:
    """What click says of an error, as it says it."""
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or context is None:
        return f"Error: {error.format_message()}"
    return f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\nError: {error.format_message()}"


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: as Ctrl-C, but for its word and its exit code."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated("Terminated")


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """What shells expect after Ctrl-C (130) or SIGTERM (143)."""
    return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED


def _home() -> Path | None:
    """The home of the command that is being run, if it has read a configuration."""
    context = click.get_current_context(silent=True)
    found = context.find_root().meta.get("home") if context else None
    return found if isinstance(found, Path) else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """From raw behaviour logs to cleaned events, features, segments, profiles and recommendations.

    \b
    First steps:
      persona run                       the whole flow on the committed sample
      persona ui                        Dagster and MLflow in the browser
      persona sources check my.yaml     try the description of your own logs
      persona run --config my.yaml      the whole flow on them

    All state lives below PERSONA_HOME, by default .persona/<name of the configuration> beside data/persona.yaml, which is looked for here and
    in the folders above.
    """


def settings_of(file: str | None) -> Settings:
    """The settings of a command; errors of the state are told with its home from here on."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().meta["config"] = file
    settings = load_settings(file)
    if context is not None:
        context.find_root().meta["home"] = settings.home
    return settings


_HINT = re.compile(r"\bpersona (run|verify|repair|ui|status|sources check|audience save NAME --where CONDITION)(?![\w-]| --config)")


def as_called(text: str) -> str:
    """A text in which the commands that it tells to give next work from where the person stands, for the configuration that was named.

    Rooms say which command; only here is known how this one was called.
    """
    context = click.get_current_context(silent=True)
    named = context.find_root().meta.get("config") if context else None
    if not named:
        return text
    file = shlex.quote(str(named))

    def called(match: re.Match[str]) -> str:
        return f"{match[0]} {file}" if match[1] == "sources check" else f"{match[0]} --config {file}"

    return _HINT.sub(called, text)


def tell(text: str) -> None:
    """Print what is no result, with the commands in it as they have to be given here."""
    warn(as_called(text))


def config_option(command: Any) -> Any:
    return click.option(
        "--config",
        "config",
        metavar="FILE",
        default=None,
        help="Configuration; default PERSONA_CONFIG, else data/persona.yaml here or in the nearest folder above.",
    )(command)


def own_list_options(command: Any) -> Any:
    """What is written of the people of an audience: ``customers``, ``id_column`` and ``columns``.

    Raises click.UsageError where a column of ids is named without the list that has it.
    """

    def _with_its_list(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
        if value and context.params.get("customers") is None:
            raise click.UsageError("found --id-column without --with-own-ids; expected the list that has the column")
        return value

    def _parted(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
        return tuple(column.strip() for column in value.split(",") if column.strip())

    options = (
        click.option(
            "--with-own-ids",
            "customers",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="CUSTOMERS.csv",
            is_eager=True,
            help="Your own list: its rows are written instead of pseudonyms. It is joined here, by your key, and goes nowhere.",
        ),
        click.option(
            "--id-column",
            metavar="COLUMN",
            callback=_with_its_list,
            help="Of CUSTOMERS.csv, with ids as in the logs; found by itself where it can be.",
        ),
        click.option(
            "--columns",
            default="",
            metavar="A,B",
            callback=_parted,
            help="Of CUSTOMERS.csv, or of user_profiles without it; ids alone by default.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def guard_option(command: Any) -> Any:
    return click.option(
        "--guard/--no-guard",
        default=True,
        show_default=True,
        help="In CSV, disarm text that a spreadsheet would take for a formula; keys and ids are never touched.",
    )(command)


def published(settings: Settings) -> Warehouse:
    """The published copy, for reading.

    Raises:
        StateError: there is no published copy, or it cannot be opened.
    """
    from persona_pipelines.warehouse.connection import Warehouse, WarehouseError

    if not settings.published_file.exists():
        raise StateError(f"no tables are published below {settings.home}; first: persona run")
    try:
        return Warehouse(settings.published_file, read_only=True)
    except WarehouseError as error:
        raise StateError(f"{error}; next: persona verify") from None


def advice_without(settings: Settings, why: Callable[[Warehouse], str | None] = lambda store: None) -> str:
    """What to do where something that runs make is not there.

    Args:
        why: the reason by which the last run left it out, by its tables; None where they do not tell.
    """
    if not settings.published_file.exists():
        return "first: persona run"
    with published(settings) as store:
        if nobody := without_people(store):
            return nobody
        reason = why(store)
    return f"the last run left it out: {reason}" if reason else "the last run left it out, or it is gone: persona run says why"


def no_recommender(settings: Settings) -> CommandError:
    """There is no recommender; why not, and what to do."""
    from persona_pipelines.recommendations.registering import why_untrained

    return CommandError(f"there is no recommender; {advice_without(settings, lambda store: why_untrained(store, settings))}")


def without_people(store: Warehouse) -> str:
    """Why there are no segments, profiles and lists of a log that names nobody; empty of one that does."""
    from persona_pipelines.warehouse import contracts

    if store.rows(contracts.USER_FEATURES) or not store.rows(contracts.EVENTS):
        return ""
    return f"no event names a person (user_id): {OF_DEVICES_ALONE}"


def relative(path: Path) -> str:
    """A path from where the person stands, and from the root where that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)


def tell_findings(result: RunResult) -> None:
    """Print what a run has to say of what it made, and of what it left out."""
    for warning in dict.fromkeys(result.warnings):
        tell(f"warning: {warning}")
    for missing in dict.fromkeys(result.left_out):
        tell(f"left out: {missing}")
    if result.success and result.left_out:
        tell("All else is made; what was left out is made as soon as the logs hold what it needs.")


def run_and_tell(settings: Settings, job: str, config: dict[str, Any] | None = None) -> None:
    """Run a job that is not of days.

    Raises:
        CommandError: it has failed; the message says why.
    """
    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.runs import run_job

    with open_instance(settings, tell) as instance, progress(None) as shown:
        from persona_pipelines.graph import build

        result = run_job(settings, build(settings), instance, job=job, config=config, on_progress=shown.heard, on_wait=shown.tell)
    tell_findings(result)
    if not result.success:
        raise CommandError("; ".join(dict.fromkeys(result.failures)) or f"run {result.run_id[:8]} failed")
