"""Real brokers and databases for the collector's tests, and collectors that end with the test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doorctl.database import Database
from doorctl.home_assistant import HomeAssistant
from services import Collector, Inside, Mosquitto, PostgreSQL, mosquitto_path, postgresql_path

_names = itertools.count()


def _need(path: object, what: str, may_skip: bool) -> None:
    if path is None:
        if not may_skip:
            pytest.fail(f"{what} is not installed")
        pytest.skip(f"{what} is not installed")


@pytest.fixture
def broker(tmp_path: Path, may_skip: bool) -> Iterator[Mosquitto]:
    """Mosquitto, running."""
    _need(mosquitto_path(), "mosquitto", may_skip)
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="session")
def _cluster(may_skip: bool) -> Iterator[PostgreSQL]:
    _need(postgresql_path(), "postgresql", may_skip)
    cluster = PostgreSQL()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def cluster(_cluster: PostgreSQL) -> Iterator[PostgreSQL]:
    """A PostgreSQL server, running; the test may stop it."""
    yield _cluster
    if not _cluster.is_running():
        _cluster.start()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a new database, of both kinds in turn."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("cluster").fresh_url(f"test_{next(_names)}")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    found = Database(url)
    yield found
    found.close()


@pytest.fixture
def start(tmp_path: Path, broker: Mosquitto) -> Iterator[Callable[..., Collector]]:
    """Start a collector process: start(url, *options); it is connected on return."""
    started = []

    def begin(url: str, *options: str) -> Collector:
        log = tmp_path / f"collector-{len(started)}.log"
        started.append(Collector(broker.port, url, log, *options))
        started[-1].wait_for("connected")
        return started[-1]

    yield begin
    for one in started:
        one.kill()


@pytest.fixture
def inside(broker: Mosquitto, database: Database) -> Iterator[Inside]:
    one = Inside(broker.port, database, home_assistant=HomeAssistant())
    yield one
    one.stop()
