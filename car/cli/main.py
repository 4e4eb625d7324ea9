"""The `car` command: its subcommands are imported when they are called for."""

import logging
import sys
from importlib import import_module

import click

from car import __version__
from car.errors import CarError

COMMANDS = (
    "segment",
    "refer",
    "video",
    "explain",
    "demo",
    "models",
    "presets",
    "scenes",
    "data",
    "eval",
    "train",
    "bench",
)


class Commands(click.Group):
    """One module of this package per subcommand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(f"car.cli.{name}").command if name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        from difflib import get_close_matches

        name = args[0]
        if name not in COMMANDS and (close := get_close_matches(name, COMMANDS, n=1)):
            ctx.fail(f"No such command {name!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="car")
def cli() -> None:
    """Text in, masks out: open-vocabulary segmentation without training.

    \b
    Examples:
      car demo                                     # the bundled picture, the embedded model
      car segment photo.jpg -q cat -q dog          # masks of what is there, "absent" for what is not
      car explain photo.jpg -q cat -q unicorn      # pictures of every step: why a query stayed or went
    """


def main() -> None:
    """Entry point: one line per error, exit status 2 (bad input), 3 (missing weights or data), 1, or 130."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        sys.exit(cli.main(standalone_mode=False))
    except CarError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(" ".join(["Interrupted.", *map(str, stop.args)]).strip(), err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
