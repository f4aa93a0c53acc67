"""Real servers for the collector's tests and its bench: Mosquitto, PostgreSQL, the collector itself."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from doorctl import collector
from doorctl.database import Database
from doorctl.metrics import Metrics
from doorctl.mqtt import Broker

PATIENCE_S = 20.0

# What docs/scale.md tells a school to set, but for the doors' listener.
MOSQUITTO = """\
{head}user {user}
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 1000
max_queued_messages 20000
set_tcp_nodelay true
persistence true
persistence_location {folder}/
{more}
"""


def free_port() -> int:
    """A port that nobody gets for an outgoing connection while our server is down."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(is_so: Callable[[], object], otherwise: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def mosquitto_path() -> str | None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    return shutil.which("mosquitto", path=path)


def postgresql_path() -> Path | None:
    """The folder of the newest PostgreSQL's programs, which Debian keeps off the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Mosquitto:
    """A broker that can be killed, and started again on its port with what it kept."""

    def __init__(self, folder: Path, more: str = "", head: str = "") -> None:
        self.port = free_port()
        self._folder = folder
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        # As root it would become another user, who cannot read the test's folder.
        user = "root" if os.getuid() == 0 else "mosquitto"
        self._config.write_text(
            MOSQUITTO.format(user=user, port=self.port, folder=folder, more=more, head=head)
        )
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        path = mosquitto_path()
        assert path is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([path, "-c", self._config], stdout=log, stderr=log)
        wait_until(lambda: listens(self.port), "Mosquitto did not start")

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None


class PostgreSQL:
    """A cluster of its own in a folder of its own, on a free port of the loopback; see `remove`."""

    def __init__(self) -> None:
        self._bin = postgresql_path()
        assert self._bin is not None
        self.port = free_port()
        # Not below pytest's folder, which root alone may enter: PostgreSQL refuses to run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="doorward-postgresql-"))
        self._user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._data = self._folder / "data"
        self._run("initdb", "--auth", "trust", "--username", "doorward", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\n"
                "listen_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{self._folder}'\n"
            )

    def fresh_url(self, name: str) -> str:
        """The URL of a new, empty database."""
        psql = [self._bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "doorward"]
        subprocess.run(
            [*psql, "-d", "postgres", "-c", f"CREATE DATABASE {name}"],
            check=True,
            capture_output=True,
        )
        return f"postgresql://doorward@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """mode: immediate is a crash, fast an orderly end."""
        self._run("pg_ctl", "stop", "--mode", mode)

    def is_running(self) -> bool:
        return listens(self.port)

    def remove(self) -> None:
        """Stop it, if it runs, and leave nothing."""
        if self.is_running():
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        assert self._bin is not None
        ids = {}
        if self._user is not None:
            ids = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        result = subprocess.run(
            [self._bin / program, "--pgdata", self._data, *arguments],
            cwd=self._folder,
            # What pg_ctl starts would keep a pipe open.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            **ids,
        )
        assert result.returncode == 0, f"{program}: {result.returncode}"


class Collector:
    """`doorctl collect` in a process of its own."""

    def __init__(self, port: int, url: str, log: Path, *options: str) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "doorctl.main",
                    "collect",
                    "--broker",
                    f"127.0.0.1:{port}",
                    "--database",
                    url,
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def wait_for(self, words: str, count: int = 1) -> None:
        wait_until(lambda: self.told().count(words) >= count, f"not told: {words}")

    def told(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE_S)
        self.kill()
        return -1


class Inside:
    """A collector in this process, whose metrics can be read."""

    def __init__(self, port: int, database: Database, **how) -> None:
        self.metrics = Metrics()
        self.collector = collector.Collector(
            Broker("127.0.0.1", port), database, self.metrics, **how
        )
        self.thread = threading.Thread(target=self.collector.run)
        self.thread.start()
        wait_until(lambda: self.value("broker_connected"), "not connected")

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"doorward_{name}", labels) or 0.0

    def stop(self) -> None:
        self.collector.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
