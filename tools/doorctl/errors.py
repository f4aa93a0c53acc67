"""The one error that a person sees: a line on stderr, exit 1."""

import click


class DoorctlError(click.ClickException):
    """Something a person can do something about. The text says what and, where known, how."""

    def show(self, file=None) -> None:
        click.echo(f"doorctl: {self.format_message()}", err=True, file=file)
