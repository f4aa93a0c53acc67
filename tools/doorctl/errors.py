"""The one error that a person sees: a line on stderr, exit 1."""

import click
from doorward.values import Refused


class DoorctlError(click.ClickException):
    """Something a person can do something about. The text says what and, where known, how."""

    def show(self, file=None) -> None:
        click.echo(f"doorctl: {self.format_message()}", err=True, file=file)


def refusal(error: Refused) -> str:
    """Return a refusal of the door's code as the door itself tells it: name (code): sentence."""
    return f"{error.name} ({error.code}): {error}"


def warn(text: str) -> None:
    """Tell a person, on stderr, what is no mistake and yet not to be missed."""
    click.echo(f"doorctl: warning: {text}", err=True)
