"""How many records a second one collector commits: `make bench-collector`.

Load, broker, database and collector share two cores. Two loads: a backlog, in batches of 32 as a
door sends it after an outage, and live, every record a message of its own. Counted are the rows in
the database; the clock runs from the first message to the last acknowledgement at the doors.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parent))

import sqlalchemy as sa
from doorctl.database import Database, records
from doors import Door, journal, taps
from services import Collector, Mosquitto, PostgreSQL

_OUT = Path("build/bench/collector.json")
_SITE = "bench"
_CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--doors", type=int, default=200)
    parser.add_argument("--records", type=int, default=80_000, help="of the backlog, in all")
    parser.add_argument("--live", type=int, default=20_000, help="one a message, in all")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:_CORES]
    os.sched_setaffinity(0, cores)
    results = []
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as name:
        folder = Path(name)
        postgresql = PostgreSQL()
        try:
            postgresql.start()
            for load, total, batch in (("backlog", given.records, 32), ("live", given.live, 1)):
                urls = {
                    "sqlite": f"sqlite:///{folder / f'{load}.db'}",
                    "postgresql": postgresql.fresh_url(load),
                }
                for kind, url in urls.items():
                    results.append(_measure(folder, kind, url, load, given.doors, total, batch))
                    print(_spell(results[-1]), flush=True)
        finally:
            postgresql.remove()
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    _OUT.write_text(json.dumps({"cores": len(cores), "results": results}, indent=2) + "\n")
    lost = sum(one["sent"] - one["stored"] for one in results)
    slowest = min(one["events_per_s"] for one in results)
    print(f"collector: {lost} lost, slowest {slowest:,.0f} events/s; {_OUT}")
    sys.exit(1 if lost else 0)


def _measure(
    folder: Path, kind: str, url: str, load: str, doors: int, total: int, batch: int
) -> dict:
    run = folder / f"{load}-{kind}"
    run.mkdir()
    broker = Mosquitto(run)
    broker.start()
    Database(url).close()  # making tables is not what is measured
    collector = Collector(broker.port, url, run / "collector.log")
    try:
        collector.wait_for("connected")
        each = total // doors
        elapsed_s, resent = asyncio.run(_deliver(broker.port, doors, each, batch))
        used_s = _cpu_s(collector.process.pid)
        database = Database(url)
        count = sa.select(sa.func.count()).select_from(records).where(records.c.site == _SITE)
        stored = next(iter(database.stream(count)))[0]
        database.close()
    finally:
        collector.stop()
        broker.stop()
    return {
        "database": kind,
        "load": load,
        "doors": doors,
        "records_a_message": batch,
        "sent": each * doors,
        "stored": stored,
        "resent_messages": resent,
        "seconds": round(elapsed_s, 2),
        "events_per_s": round(stored / elapsed_s),
        "collector_cpu_s": round(used_s, 2),
    }


async def _deliver(port: int, doors: int, each: int, batch: int) -> tuple[float, int]:
    """Let the doors deliver; return the seconds it took, and how often one sent again."""
    fleet = [
        Door(_SITE, f"door-{number}", journal(taps(each, number)), batch=batch)
        for number in range(doors)
    ]
    living = [asyncio.create_task(door.live(port)) for door in fleet]
    for door in fleet:
        await door.is_welcome.wait()
    began = time.monotonic()
    for door in fleet:
        door.go()
    await asyncio.gather(*(door.is_done.wait() for door in fleet))
    elapsed_s = time.monotonic() - began
    for task in living:
        task.cancel()
    return elapsed_s, sum(door.resent for door in fleet)


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spell(one: dict) -> str:
    return (
        f"{one['database']:<11}{one['load']:<8} {one['events_per_s']:>7,} events/s: "
        f"{one['stored']:,} of {one['sent']:,} records from {one['doors']} doors in "
        f"{one['seconds']} s, {one['records_a_message']} a message, "
        f"collector's processor {one['collector_cpu_s']} s"
    )


if __name__ == "__main__":
    main()
