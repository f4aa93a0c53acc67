"""Real brokers for the tests, each a process that can be killed, and a wire that can be cut."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from doorctl.simulator import free_port

PATIENCE_S = 15  # for a slow machine; nothing here takes as long

_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    })
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""

# The plain listener is the district's, which here needs no password: it is on the loopback.
_MOSQUITTO = """\
user {user}
per_listener_settings true
listener {port} 127.0.0.1
allow_anonymous true
listener {psk_port} 127.0.0.1
allow_anonymous {is_anonymous}
psk_hint doorward
psk_file {folder}/psk
use_identity_as_username true
"""


def mosquitto_path() -> str | None:
    """Return Mosquitto's daemon, which distributions put where only root looks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    return shutil.which("mosquitto", path=path)


def need_mosquitto() -> None:
    """Skip the test without Mosquitto, or fail it where nothing may be skipped."""
    if mosquitto_path() is None:
        if os.environ.get("DOORWARD_NO_SKIP") == "1":
            pytest.fail("mosquitto is not installed")
        pytest.skip("mosquitto is not installed")


def confine(identities: list[str]) -> str:
    """Return the ACL file that confines each door to its own topics. identities: <site>/<door>.

    A pattern with %u would do for a door's own topics (a slash in it is no harm), and not for those
    of its site.
    """
    lines = []
    for identity in identities:
        site = identity.split("/")[0]
        own = f"doorward/{identity}"
        lines.append(f"user {identity}")
        lines += [f"topic write {own}/{name}" for name in ("state", "health", "records", "want")]
        lines += [f"topic read {own}/{name}" for name in ("acknowledged", "piece", "command/+")]
        lines += [f"topic read doorward/{site}/@all/{name}" for name in ("offers", "command/+")]
    return "\n".join(lines) + "\n"


class Broker:
    """A broker in a process of its own, which can be killed and started again on its ports.

    Attributes:
        port: plain, for whoever is on the district's side.
        device_port: for doors. Mosquitto's is TLS-PSK.
    """

    def __init__(
        self, kind: str, folder: Path, keys: dict[str, bytes], is_confined: bool = False
    ) -> None:
        """kind: "amqtt" or "mosquitto". keys: of those who may come in by TLS-PSK.

        is_confined: they are doors, and each has its own topics only.
        """
        self.kind = kind
        self.port = self.device_port = free_port()
        self.log = folder / f"{kind}.log"
        self.process: subprocess.Popen | None = None
        if kind == "amqtt":
            self.command = [sys.executable, "-c", _AMQTT, str(self.port)]
            return
        self.device_port = free_port()
        (folder / "psk").write_text("".join(f"{who}:{key.hex()}\n" for who, key in keys.items()))
        config = _MOSQUITTO.format(
            # As root it would become another user, who cannot read the test's folder.
            user="root" if os.getuid() == 0 else "mosquitto",
            port=self.port,
            psk_port=self.device_port,
            is_anonymous="false" if is_confined else "true",
            folder=folder,
        )
        if is_confined:
            (folder / "acl").write_text(confine(list(keys)))
            config += f"acl_file {folder}/acl\n"
        (folder / "mosquitto.conf").write_text(config)
        self.command = [str(mosquitto_path()), "-c", str(folder / "mosquitto.conf")]

    @property
    def is_tls(self) -> bool:
        return self.kind == "mosquitto"

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        for port in {self.port, self.device_port}:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    is_alive = self.process.poll() is None and time.monotonic() < deadline
                    assert is_alive, self.log.read_text()
                    time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


def stop_listening(listener: socket.socket) -> None:
    """Give the port free, although another thread waits in accept()."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


class Proxy:
    """A wire between a door and its broker.

    Attributes:
        port: where the door connects to.
        is_frozen: connections stay open and carry nothing, as behind a dead router.
        is_deaf: new connections are accepted, and nobody is there.
        delay_s: how long what goes either way is under way.
    """

    def __init__(self, port: int, delay_s: float = 0, at_port: int = 0) -> None:
        self.is_frozen = False
        self.is_deaf = False
        self.delay_s = delay_s
        self._target = port
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", at_port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection."""
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._ends = []

    def close(self) -> None:
        stop_listening(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            self._ends.append(near)
            if self.is_deaf:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._ends.append(far)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.delay_s:
                    # Later bytes wait in the kernel: as slow as a wire with this delay at worst.
                    time.sleep(self.delay_s)
                if not self.is_frozen:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Nobody:
    """A port at which a connection is neither made nor refused: the network drops what comes."""

    def __init__(self, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(0)
        # Linux drops the SYN of whoever does not fit into the queue.
        self._waiting = [socket.socket() for _ in range(4)]
        for one in self._waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.1)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), timeout=0.5)

    def close(self) -> None:
        self._listener.close()
        for one in self._waiting:
            one.close()
