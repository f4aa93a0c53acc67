"""From `doorctl publish` to the door, through the collector and the broker, with nobody at the door."""

from click.testing import CliRunner
from doorctl.main import main
from doorctl.world import wait_until
from doorward.values import LOCK_DOWN


def publish(site, *files):
    at = ("--database", site.database_url, "--broker", f"127.0.0.1:{site.broker_port}")
    result = CliRunner().invoke(main, ["publish", *map(str, files), *at])
    assert result.exit_code == 0, result.output


def test_a_door_fetches_what_is_published(site):
    site.start_broker()
    site.new_door(has_lists=False)
    site.start_collector()
    site.wait_for_delivery()
    ring = site.folder / "ring.dwk"
    publish(site, ring, site.build_list("police", 7), site.build_list("school", 3))

    def versions():
        return {one["issuer"]: one["version"] for one in site.status()["lists"]}

    wait_until(lambda: versions() == {"police": 7, "school": 3}, 30, "lists did not come")
    publish(site, site.build_list("police", 8))
    wait_until(lambda: versions()["police"] == 8, 30, "the newer list did not come")
    order = site.folder / "order.dwc"
    order.write_bytes(site.build_command("school", LOCK_DOWN, 5))
    publish(site, order)
    wait_until(lambda: site.status()["posture"] == "lockdown", 10, "not locked down")
    result = CliRunner().invoke(main, ["fleet", "status", "--database", site.database_url])
    assert "yes" in result.output

    def shown():
        result = CliRunner().invoke(main, ["fleet", "status", "--database", site.database_url])
        return "lockdown" in result.output

    wait_until(shown, 20, "the fleet does not show the lockdown")
