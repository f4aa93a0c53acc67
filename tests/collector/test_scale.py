"""The broker's configuration in docs/scale.md, started as it stands there."""

import os
import re
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from doorctl.database import Database
from doors import journal, packet, string, taps
from services import Collector, free_port, listens, mosquitto_path, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
SITE = "riverside"
KEYS = {f"{SITE}/{name}": os.urandom(32) for name in ("north", "south")}


def fenced(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found


class Broker:
    """Mosquitto with the page's files, but for their places and its user."""

    def __init__(self, folder):
        self.port, self.psk_port = free_port(), free_port()
        config = fenced("conf")
        for there, here in (
            ("listener 8883", f"listener {self.psk_port} 127.0.0.1"),
            ("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1"),
            ("/etc/mosquitto/", f"{folder}/"),
            ("/var/lib/mosquitto/", f"{folder}/"),
        ):
            assert there in config, there
            config = config.replace(there, here)
        user = "root" if os.getuid() == 0 else "mosquitto"
        (folder / "mosquitto.conf").write_text(f"user {user}\n{config}")
        (folder / "doorward.acl").write_text(fenced("acl"))
        (folder / "doors.psk").write_text(
            "".join(f"{name}:{key.hex()}\n" for name, key in KEYS.items())
        )
        passwords = folder / "passwords"
        passwords.touch(0o600)
        for name in ("collector", "publisher"):
            subprocess.run(
                [shutil.which("mosquitto_passwd"), "-b", passwords, name, f"{name}-password"],
                check=True,
                capture_output=True,
            )
        for name in ("doorward.acl", "doors.psk"):
            (folder / name).chmod(0o600)
        self.log = folder / "mosquitto.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [mosquitto_path(), "-c", folder / "mosquitto.conf"], stdout=log, stderr=log
            )
        wait_until(lambda: listens(self.psk_port), "Mosquitto did not start")


class SecureDoor:
    """One door over TLS-PSK, by openssl, because this Python has no pre-shared keys."""

    def __init__(self, port, name, key):
        self._process = subprocess.Popen(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-tls1_2"),
                *("-psk_identity", name, "-psk", key.hex()),
                *("-cipher", "PSK-AES128-GCM-SHA256"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.came = b""
        threading.Thread(target=self._read, daemon=True).start()
        self.write(packet(0x10, string("MQTT") + b"\x04\x02\x00\x3c" + string(name)))

    def _read(self):
        while data := self._process.stdout.read1(4096):
            self.came += data

    def write(self, data):
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def publish(self, topic, payload):
        self.write(packet(0x30, string(topic) + payload))

    def subscribe(self, topic):
        self.write(packet(0x82, b"\x00\x01" + string(topic) + b"\x00"))

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def page_broker(tmp_path, may_skip):
    if mosquitto_path() is None:
        if not may_skip:
            pytest.fail("mosquitto is not installed")
        pytest.skip("mosquitto is not installed")
    broker = Broker(tmp_path)
    yield broker
    broker.process.kill()
    broker.process.wait()


def test_the_page_s_broker_confines_each_door(page_broker, tmp_path):
    password = tmp_path / "collector.password"
    password.write_text("collector-password\n")
    url = f"sqlite:///{tmp_path / 'records.db'}"
    options = ("--username", "collector", "--password-file", str(password), "--share", "doorward")
    collector = Collector(page_broker.port, url, tmp_path / "collector.log", *options)
    north = SecureDoor(page_broker.psk_port, f"{SITE}/north", KEYS[f"{SITE}/north"])
    south = SecureDoor(page_broker.psk_port, f"{SITE}/south", KEYS[f"{SITE}/south"])
    stranger = SecureDoor(page_broker.psk_port, f"{SITE}/north", os.urandom(32))
    try:
        collector.wait_for("connected")
        wait_until(lambda: north.came[:4] == b"\x20\x02\x00\x00", page_broker.log.read_text())
        wait_until(lambda: south.came[:4] == b"\x20\x02\x00\x00", page_broker.log.read_text())
        south.subscribe(f"doorward/{SITE}/north/acknowledged")
        south.subscribe("doorward/#")
        north.subscribe(f"doorward/{SITE}/north/acknowledged")
        raw = journal(taps(3))
        # What a door says in another's name does not arrive; and then its own does.
        south.publish(f"doorward/{SITE}/north/records", bytes(8) + raw[0])
        north.publish(f"doorward/{SITE}/north/records", b"\x01" * 8 + b"".join(raw))
        expected = b"\x01" * 8 + struct.pack("<I", 3) + raw[2][44:60]
        wait_until(lambda: expected in north.came, collector.told())
        database = Database(url)
        assert {row.journal for row in database.of_door(SITE, "north")} == {"01" * 8}
        database.close()
        assert b"acknowledged" not in south.came and stranger.came == b""
    finally:
        for door in (north, south, stranger):
            door.close()
        collector.kill()


def test_the_page_s_users_may_do_what_they_must(page_broker, tmp_path):
    """And nobody gets in without a password."""
    from doorctl.mqtt import Broker as Place
    from doorctl.publish import _Post

    publisher = Place("127.0.0.1", page_broker.port, "publisher", "publisher-password")
    post = _Post(publisher)
    topic = f"doorward/{SITE}/@all/command/{'ab' * 8}"
    assert post.retained(topic) == b""
    post.publish(topic, b"x" * 402)
    post.close()
    door = SecureDoor(page_broker.psk_port, f"{SITE}/north", KEYS[f"{SITE}/north"])
    try:
        door.subscribe(f"doorward/{SITE}/@all/command/#")
        wait_until(lambda: b"x" * 402 in door.came, "a door does not hear commands")
    finally:
        door.close()
    from doorctl.errors import DoorctlError

    with pytest.raises(DoorctlError, match="refused us"):
        _Post(Place("127.0.0.1", page_broker.port))


def test_every_metric_on_the_page_is_one():
    from doorctl.metrics import Metrics

    names = {family.name for family in Metrics().registry.collect()}
    table = PAGE.read_text().split("## Metrics")[1]
    told = {
        word.split("{")[0].removesuffix("_total")
        for word in re.findall(r"`(doorward_[^`]+)`", table)
    }
    assert told and told <= names
    assert names - told == {"doorward_records_repeated", "doorward_messages_dropped"}
