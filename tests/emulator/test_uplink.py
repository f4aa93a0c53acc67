"""The probe of `make bench-uplink`: the door does over it what it should, within its memory."""

from pathlib import Path

from emulator import door as doors
from emulator import uplink


def test_an_uplink_costs_no_more_than_is_allowed(development_image: Path) -> None:
    update = doors.make_update(uplink.BADGES, uplink.CHANGES)
    figures, wrong = uplink.measure(development_image, update, is_timed=False)
    assert wrong == []
    for name in ("connected_bytes", "delivering_bytes", "list_bytes"):
        assert figures[name] + uplink.TLS_BYTES <= uplink.TARGET_BYTES
    figures, wrong = uplink.measure(development_image, update, is_timed=True)
    assert wrong == []
    assert figures["slices_ms"][0] <= uplink.SLICE_MS
