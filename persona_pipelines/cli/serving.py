"""The live service."""

from __future__ import annotations

import click

from persona_pipelines.cli.base import config_option, main, no_recommender, published, settings_of
from persona_pipelines.cli.printing import say


@main.group(invoke_without_command=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; beyond this machine every request needs the token."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0 takes any that is free.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer, of which each knows everybody."
)
@config_option
@click.pass_context
def serve(context: click.Context, host: str, port: int, workers: int, config: str | None) -> None:
    """Answer over HTTP: lists that know the last click, profiles, and events that count at once. Until Ctrl-C."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    settings = settings_of(config)
    from persona_pipelines.serving.building import NothingToServeError
    from persona_pipelines.serving.running import serve as answer

    try:
        answer(settings, lambda: published(settings), host, port, say, workers)
    except NothingToServeError:
        raise no_recommender(settings) from None


@serve.command("token")
@config_option
@click.pass_context
def show_token(context: click.Context, config: str | None) -> None:
    """Show the token of the service; it is made the first time."""
    settings = settings_of(config or context.obj)
    from persona_pipelines.serving.running import token_of

    click.echo(token_of(settings))
