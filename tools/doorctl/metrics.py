"""What a collector tells Prometheus."""

from collections import Counter
from collections.abc import Sequence

import prometheus_client as prometheus

from doorctl import alarms
from doorctl.errors import DoorctlError
from doorctl.fleet import Door

# A series a door would grow with the fleet; only those furthest behind have one.
_MOST_BEHIND = 20
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """One collector's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.stored = self._counter("records_stored", "Records that were new.")
        self.repeated = self._counter("records_repeated", "Records that were known already.")
        self.conflicts = self._counter(
            "batches_conflicting", "Batches with a record that is known with other content."
        )
        self.garbage = self._counter("messages_garbage", "Messages that are none of ours.")
        self.dropped = self._counter(
            "messages_dropped", "Batches for which there was no room; their doors send them again."
        )
        self.pieces = self._counter("pieces_sent", "Pieces of signed objects sent to doors.")
        self.database_errors = self._counter("database_errors", "Transactions that failed.")
        self.commit_seconds = prometheus.Histogram(
            "doorward_commit_seconds",
            "From taking up a group of batches to its commit.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.is_connected = self._gauge("broker_connected", "1 while the broker answers.")
        self.is_stored = self._gauge("database_up", "1 while the last transaction succeeded.")
        self._doors = self._gauge("doors", "Doors that were ever heard of.")
        self._online = self._gauge("doors_online", "Doors whose state is online.")
        self._unsent = self._gauge("records_unsent", "Records that doors say they still hold.")
        self._behind = self._gauge(
            "door_records_unsent",
            f"The same by door, for the {_MOST_BEHIND} that hold most.",
            ("site", "door"),
        )
        self._alarms = self._gauge("doors_in_alarm", "Doors by standing alarm.", ("alarm",))

    def serve(self, host: str, port: int) -> int:
        """Answer scrapes for ever, in threads of its own; return the port. Raises DoorctlError.

        port: 0 takes a free one.
        """
        try:
            server, _ = prometheus.start_http_server(port, host, self.registry)
        except OSError as error:
            raise DoorctlError(f"metrics {host}:{port}: {error.strerror}") from None
        return server.server_port

    def show_fleet(self, doors: Sequence[Door]) -> None:
        """Take over what the database says of the doors."""
        self._doors.set(len(doors))
        self._online.set(sum(door.is_online is True for door in doors))
        self._unsent.set(sum(door.unsent or 0 for door in doors))
        behind = sorted(((door.unsent or 0, door.site, door.door) for door in doors), reverse=True)
        self._behind.clear()
        for unsent, site, door in behind[:_MOST_BEHIND]:
            self._behind.labels(site, door).set(unsent)
        standing = Counter(alarm for door in doors for alarm in door.alarms)
        for name in alarms.NAMES:
            self._alarms.labels(name).set(standing[name])

    def _counter(self, name: str, text: str) -> prometheus.Counter:
        return prometheus.Counter(f"doorward_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> prometheus.Gauge:
        return prometheus.Gauge(f"doorward_{name}", text, labels, registry=self.registry)
