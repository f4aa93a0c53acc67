"""Provisioning: what a door is given once, written where the firmware reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doorward import config, state
from doorward.hal import roles, unix
from doorward.trust.primitives import run_through

from doorctl.errors import DoorctlError


class _NoGate:
    """A file does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)


def provision_file(
    flash: Path,
    settings: dict,
    ring: bytes,
    site_key: bytes,
    journal: tuple[bytes, bytes],
    uplink_key: bytes,
) -> None:
    """Write a new simulated door's flash file. Keys are 32 bytes each.

    journal: its id, 8 bytes, and its first key. A journal can be verified only with that: enter the
    door in the register before.
    Raises DoorctlError where the settings are refused; then nothing is written.
    """
    text = json.dumps(settings).encode()
    _check(text)
    flash.unlink(missing_ok=True)
    values = {
        state.CONFIG: text,
        state.KEY_RING: ring,
        state.SITE_KEY: site_key,
        state.JOURNAL_ID: journal[0],
        state.JOURNAL_KEY: journal[1],
        state.UPLINK_KEY: uplink_key,
    }
    with _given(flash) as given:
        run_through(given.commit(values, _NoGate()))


def change_settings(flash: Path, changes: dict) -> None:
    """Change settings of a simulated door that is switched off; the others stay as they are.

    Raises DoorctlError where the settings are refused; then nothing is written.
    """
    with _given(flash) as given:
        text = json.dumps({**json.loads(given.require(state.CONFIG)), **changes}).encode()
        _check(text)
        run_through(given.commit({state.CONFIG: text}, _NoGate()))


def _check(text: bytes) -> None:
    try:
        config.parse(text)
    except config.ConfigError as error:
        raise DoorctlError(str(error)) from None


@contextmanager
def _given(flash: Path) -> Iterator[state.Snapshots]:
    """Open the store of what a simulated door was given."""
    layout = roles.LAYOUT_2MB
    file = unix.FlashFile(str(flash), layout.size_bytes)
    try:
        yield state.Snapshots(file.region(layout.provision), roles.PROVISION_SLOT_BYTES)
    finally:
        file.close()
