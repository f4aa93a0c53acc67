"""Provisioning: what a door is given once, written where the firmware reads it."""

import json
from pathlib import Path

from doorward import config, state
from doorward.hal import roles, unix
from doorward.trust.primitives import run_through

from doorctl.errors import DoorctlError

KEY_BYTES = 32


class _NoGate:
    """A file does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)


def provision_file(
    flash: Path,
    settings: dict,
    ring: bytes,
    site_key: bytes,
    journal_key: bytes,
    uplink_key: bytes,
) -> None:
    """Write a new simulated door's flash file. The keys are KEY_BYTES each.

    Raises DoorctlError where the settings are refused; then nothing is written.
    """
    text = json.dumps(settings).encode()
    try:
        config.parse(text)
    except config.ConfigError as error:
        raise DoorctlError(str(error)) from None
    layout = roles.LAYOUT_2MB
    flash.unlink(missing_ok=True)
    file = unix.FlashFile(str(flash), layout.size_bytes)
    given = state.Snapshots(file.region(layout.provision), roles.PROVISION_SLOT_BYTES)
    run_through(
        given.commit(
            {
                state.CONFIG: text,
                state.KEY_RING: ring,
                state.SITE_KEY: site_key,
                state.JOURNAL_KEY: journal_key,
                state.UPLINK_KEY: uplink_key,
            },
            _NoGate(),
        )
    )
    file.close()
