"""The command group: every command is a cli_*.py of its own, imported when it is called."""

import importlib

import click
from doorward import __version__

# command -> (module, one line for the help)
_COMMANDS = {
    "keys": ("cli_keys", "Make and show signing keys."),
    "keyring": ("cli_keyring", "Build and show a site's key ring."),
    "roster": ("cli_roster", "Check a roster before a list is made from it, or import one."),
    "list": ("cli_list", "Build, compare, verify and show signed allowlists."),
    "deny": ("cli_deny", "Build, verify and show deny lists: lost badges."),
    "command": ("cli_command", "Order doors to lock down, to open or to go out of service."),
    "push": ("cli_door", "Send signed objects to a door."),
    "status": ("cli_door", "Show how a door is."),
    "log": ("cli_log", "Show a door's journal, export it, or verify what was collected."),
    "register": ("cli_register", "List provisioned doors, or tell a broker of them."),
    "collect": ("cli_collect", "Take the doors' records from the broker into a database."),
    "publish": ("cli_publish", "Hand signed objects down to the doors by the network."),
    "fleet": ("cli_fleet", "Show how all doors are."),
    "report": ("cli_report", "Write records as CSV or JSON, by door, badge and time."),
    "config": ("cli_config", "Check a door's configuration, or print its documentation."),
    "sim": ("cli_sim", "Run a simulated door and play with it."),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"doorctl.{_COMMANDS[cmd_name][0]}")
        return getattr(module, cmd_name if cmd_name != "list" else "list_")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="doorctl")
def main() -> None:
    """Run Doorward door controllers: keys, rosters, signed lists, doors, records."""


if __name__ == "__main__":
    main()
