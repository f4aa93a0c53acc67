"""The host's way to a broker: where it is, who we are there, and the client."""

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from doorctl.errors import DoorctlError
from doorctl.options import FILE
from doorctl.output import read_file

_MAX_PASSWORD_BYTES = 1024
_KEEPALIVE_S = 30
_FIRST_RETRY_S = 1
_LONGEST_RETRY_S = 30


def parse_place(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class Place(click.ParamType):
    """HOST:PORT, as (host, port)."""

    name = "HOST:PORT"

    def convert(self, value, param, ctx) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        try:
            return parse_place(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and how to be let in.

    username, password: None where the broker wants none. tls: the context of a TLS connection.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def client(self, role: str) -> paho.Client:
        """Return a client of a name of its own, not connected; it comes back by itself."""
        # Two of one name would throw each other out for ever.
        name = f"doorctl-{role}-{os.urandom(6).hex()}"
        client = paho.Client(CallbackAPIVersion.VERSION2, name)
        if self.username is not None:
            client.username_pw_set(self.username, self.password)
        if self.tls is not None:
            client.tls_set_context(self.tls)
        client.on_socket_open = _hurry
        client.reconnect_delay_set(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        return client

    def connect(self, client: paho.Client) -> None:
        """Begin to connect, and to go on for ever, in a thread of the client's own."""
        client.connect_async(self.host, self.port, _KEEPALIVE_S)
        client.loop_start()


def _hurry(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Send small packets at once: else each waits 40 ms for the one before to be acknowledged."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_OPTIONS = (
    click.option(
        "--broker", type=Place(), default="127.0.0.1:1883", show_default=True, help="The broker."
    ),
    click.option("--username", help="Who we are at the broker.", envvar="DOORCTL_BROKER_USERNAME"),
    click.option("--password-file", type=FILE, help="Its first line; or DOORCTL_BROKER_PASSWORD."),
    click.option("--tls", "is_tls", is_flag=True, help="TLS, by the system's certificates."),
    click.option("--ca", type=FILE, help="TLS, by these certificates (PEM)."),
    click.option("--cert", type=FILE, help="Our own certificate and its key (PEM)."),
)


def broker_options(function: Callable) -> Callable:
    """Give a command the options that `broker_of` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def broker_of(
    broker: tuple[str, int],
    username: str | None,
    password_file: Path | None,
    is_tls: bool,
    ca: Path | None,
    cert: Path | None,
) -> Broker:
    """Return the Broker that a command's options name. Raises DoorctlError."""
    password = os.environ.get("DOORCTL_BROKER_PASSWORD")
    if password_file is not None:
        text = read_file(password_file, _MAX_PASSWORD_BYTES).decode(errors="replace")
        password = (text.splitlines() or [""])[0]
    if password is not None and username is None:
        raise DoorctlError("a password for the broker, and no --username")
    context = None
    if is_tls or ca is not None or cert is not None:
        try:
            context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
            if cert is not None:
                context.load_cert_chain(cert)
        except (OSError, ssl.SSLError) as error:
            raise DoorctlError(f"{ca or cert}: {error.strerror or error}") from None
    return Broker(*broker, username, password, context)
