"""doorctl list: build, compare, verify and show signed allowlists."""

import sys
from pathlib import Path

import click
from doorward.access.allowlist import MAX_LEVEL
from doorward.access.control import blind
from doorward.access.schedule import DOOR_LEVEL, Schedule
from doorward.trust import objects
from doorward.trust.keyring import MAY_UNLOCK, KeyRing
from doorward.trust.primitives import HmacKey
from doorward.values import Refused

from doorctl import denials, lists, schedules, signed
from doorctl.cli_keys import ask_passphrase
from doorctl.difference import Difference
from doorctl.errors import DoorctlError, refusal, warn
from doorctl.keyring import open_ring_file
from doorctl.keys import load_private, load_site_key, public_key
from doorctl.options import FILE, GROUPS
from doorctl.output import print_facts, print_json, read_file, write_file
from doorctl.roster import Row, sound_rows, spell_uid
from doorctl.signed import MAX_OBJECT_BYTES, Signed

_SHOWN_UIDS = 20
_DAYS = click.IntRange(0, 36500)


@click.group("list")
def list_() -> None:
    """Build, compare, verify and show signed allowlists."""


@list_.command()
@click.option("--roster", "rosters", required=True, multiple=True, type=FILE, help="CSV; repeat.")
@click.option("--key", required=True, type=FILE, help="The issuer's private key; it signs.")
@click.option("--site", required=True, help="Site whose doors take it.")
@click.option("--site-key", required=True, type=FILE, help="See doorctl keys site.")
@click.option("--out", required=True, type=FILE)
@click.option(
    "--previous",
    type=FILE,
    help="The list that doors have; default: the one in --out, if it is of this issuer and site.",
)
@click.option("--version", type=int, help="Default: one more than the previous list's.")
@click.option("--deny", type=FILE, help="The issuer's deny list: its badges are left out.")
@click.option(
    "--schedule", type=FILE, help="Hours and holidays, TOML; default: the previous list's."
)
@click.option("--no-schedule", is_flag=True, help="Every level enters at any hour.")
@click.option("--groups", type=GROUPS, default=0, help="Door groups it is for; default: all.")
@click.option("--issued", help="ISO date or date and time; default: now.")
@click.option(
    "--soft-stale",
    type=_DAYS,
    default=30,
    show_default=True,
    help="Days after which doors call the list old; it still opens. 0: never.",
)
@click.option(
    "--hard-stale",
    type=_DAYS,
    default=0,
    show_default=True,
    help="Days after which it no longer opens for staff and visitors. 0: never.",
)
@click.option(
    "--responder-hard-stale",
    type=_DAYS,
    default=0,
    show_default=True,
    help="Days after which it no longer opens for responders. 0: never.",
)
@click.option("--force", is_flag=True, help="Even if no responder of the previous list stays.")
def build(
    rosters: tuple[Path, ...],
    key: Path,
    site: str,
    site_key: Path,
    out: Path,
    previous: Path | None,
    version: int | None,
    deny: Path | None,
    schedule: Path | None,
    no_schedule: bool,
    groups: int,
    issued: str | None,
    soft_stale: int,
    hard_stale: int,
    responder_hard_stale: int,
    force: bool,
) -> None:
    """Make a signed allowlist of one or more rosters.

    Says first what it changes: "+3 -1 ~2, responders -0, list was 41 days old" is 3 badges more,
    1 fewer, 2 with other rights. Nothing is written when anything in the rosters is wrong.

    Hours and holidays come from a file; docs/operations.md has one to begin with.
    """
    if schedule is not None and no_schedule:
        raise click.UsageError("--schedule and --no-schedule exclude one another")
    _check_ages(soft_stale, hard_stale, responder_hard_stale)
    rows = sound_rows(rosters)
    issued_s = lists.parse_issued(issued)
    section = b""
    if schedule is not None:
        section = schedules.pack(schedules.read_plan(schedule, issued_s))
    blinding = load_site_key(site_key)
    private = load_private(key, ask=ask_passphrase)
    signer = public_key(private)
    before = signed.find_previous(previous, out, objects.ALLOWLIST_TYPE, signer, site)
    version = signed.next_version(version, before, "list")
    # What one list has made needless stays needless: a deny list from before could come back.
    includes_deny = 0 if before is None else before.header.includes_deny
    if deny is not None:
        denial = _read_denial(deny, site, signer)
        rows = _without_denied(rows, denial, blinding)
        includes_deny = max(includes_deny, denial.header.version)
    if before is not None and schedule is None and not no_schedule:
        section = _carry_over(before)
    data = lists.build_list(
        rows,
        private,
        site,
        version,
        blinding,
        issued_s,
        soft_stale_s=soft_stale * lists.DAY_S,
        hard_stale_s=hard_stale * lists.DAY_S,
        responder_stale_s=responder_hard_stale * lists.DAY_S,
        includes_deny=includes_deny,
        groups=groups,
        schedule=section,
    )
    if before is not None:
        found = _compare(before, signed.split(data, objects.ALLOWLIST_TYPE, signer, str(out)))
        _say(found)
        _refuse_to_lose_responders(found, force)
    write_file(out, data)
    click.echo(
        f"{out}: {len(rows)} badges for {site}, version {version}, "
        f"signed by {signer.key_id.hex()}, {len(data):,} bytes"
    )


def _carry_over(before: Signed) -> bytes:
    """Return the previous list's schedule; say so, where it has one."""
    try:
        section = lists.section_of(before)
        plan = schedules.unpack(section)
    except Refused as error:
        raise DoorctlError(f"{before.name}: {refusal(error)}") from None
    if plan is not None:
        click.echo(
            f"{before.name}: its hours and holidays are carried over; --schedule for others, "
            "--no-schedule for none"
        )
    return section


def _check_ages(soft_days: int, hard_days: int, responder_days: int) -> None:
    """Refuse a list that closes before it is called old, or to responders before staff. 0: never."""
    for option, days in (("--hard-stale", hard_days), ("--responder-hard-stale", responder_days)):
        if 0 < days < soft_days:
            raise click.UsageError(f"--soft-stale {soft_days} is more than {option} {days}")
    if 0 < responder_days < hard_days:
        raise click.UsageError(
            f"--hard-stale {hard_days} is more than --responder-hard-stale {responder_days}: "
            "age locks responders out last"
        )


def _read_denial(path: Path, site: str, signer) -> Signed:
    denial = signed.read(path, objects.DENY_LIST_TYPE)
    header = denial.header
    if header.site != site:
        raise DoorctlError(f"{path}: is a deny list of site {header.site}, not of {site}")
    if header.issuer_id != signer.key_id:
        raise DoorctlError(
            f"{path}: is a deny list of issuer {header.issuer_id.hex()}, and a list can include "
            "only its own issuer's; take the badges off the roster"
        )
    return signed.read(path, objects.DENY_LIST_TYPE, signer)


def _without_denied(rows: list[Row], denial: Signed, site_key: bytes) -> list[Row]:
    """Return the rows that are not denied; say which are, and where they still stand."""
    key = HmacKey(site_key)
    try:
        badge_ids = denials.badge_ids_of(denial)
    except Refused as error:
        raise DoorctlError(f"{denial.name}: {refusal(error)}") from None
    kept, left_out = [], []
    for row in rows:
        (left_out if blind(key, row.identity) in badge_ids else kept).append(row)
    version = denial.header.version
    click.echo(
        f"{denial.name}: {len(badge_ids)} denied badges, {len(left_out)} of them left out of the "
        f"rosters; the list includes deny list version {version}"
    )
    if left_out:
        warn(
            "denied badges are still on the roster, and back on the next list unless taken off: "
            + ", ".join(spell_uid(row.uid) for row in left_out[:_SHOWN_UIDS])
            + (" ..." if len(left_out) > _SHOWN_UIDS else "")
        )
    return kept


def _refuse_to_lose_responders(found: Difference, force: bool) -> None:
    if force or not found.takes_every_responder:
        return
    why = "; is it the right site key? No badge stayed" if found.shares_no_badge else ""
    raise DoorctlError(
        f"not one of the {found.lost_responders} responders of {found.old.name} would open any "
        f"more, and nothing was written{why}; --force if that is meant"
    )


@list_.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--roster", "rosters", multiple=True, type=FILE, help="Names UIDs; repeat.")
@click.option("--site-key", type=FILE, help="For --roster: what its badges are blinded with.")
@click.option(
    "--across", is_flag=True, help="They are of different sites or issuers; it is meant."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(
    old: Path,
    new: Path,
    rosters: tuple[Path, ...],
    site_key: Path | None,
    across: bool,
    as_json: bool,
) -> None:
    """Say what the list NEW changes against OLD, in one line; details on a terminal.

    "+3 -1 ~2, responders -0, list was 41 days old": 3 badges more, 1 fewer, 2 with other rights.
    Lists hold no UIDs: --roster names those that stand on a roster, each in a line of its own.
    """
    if bool(rosters) != (site_key is not None):
        raise click.UsageError("--roster and --site-key need one another")
    before = signed.read(old, objects.ALLOWLIST_TYPE)
    after = signed.read(new, objects.ALLOWLIST_TYPE)
    if not across:
        _check_comparable(before, after)
    found = _compare(before, after)
    named = {} if site_key is None else _uids(rosters, load_site_key(site_key))
    if as_json:
        print_json({**found.facts(), **_named(found, named)} if rosters else found.facts())
        return
    _say(found)
    if rosters:
        _say_uids(found, named)
    is_same_issuer = after.header.issuer_id == before.header.issuer_id
    if is_same_issuer and after.header.version <= before.header.version:
        warn(f"{new} is not newer than {old}: a door that has {old} refuses it")


def _check_comparable(before: Signed, after: Signed) -> None:
    old, new = before.header, after.header
    if old.site != new.site:
        raise DoorctlError(
            f"sites differ, {old.site} and {new.site}: under another site key no badge is the "
            "same; --across if that is the point"
        )
    if old.issuer_id != new.issuer_id:
        raise DoorctlError(
            f"issuers differ, {old.issuer_id.hex()} and {new.issuer_id.hex()}: doors hold both "
            "lists side by side; --across if that is the point, as when a key is replaced"
        )


def _compare(before: Signed, after: Signed) -> Difference:
    try:
        return Difference(before, after)
    except Refused as error:
        raise DoorctlError(f"{before.name}, {after.name}: {refusal(error)}") from None


def _say(found: Difference) -> None:
    click.echo(found.line())
    if sys.stdout.isatty():
        for line in found.lines():
            click.echo(f"  {line}")


def _uids(rosters: tuple[Path, ...], site_key: bytes) -> dict[bytes, str]:
    """Return blinded id -> UID. A badge may stand on several rosters, as in an old and a new."""
    key = HmacKey(site_key)
    return {
        blind(key, row.identity): spell_uid(row.uid)
        for path in rosters
        for row in sound_rows([path])
    }


def _named(found: Difference, named: dict[bytes, str]) -> dict[str, list[str]]:
    return {
        f"{what}_uids": [named[badge_id] for badge_id in badge_ids if badge_id in named]
        for what, badge_ids in (
            ("added", found.added),
            ("removed", found.removed),
            ("changed", found.changed),
        )
    }


def _say_uids(found: Difference, named: dict[bytes, str]) -> None:
    uids = _named(found, named)
    for sign, what in (("+", "added"), ("-", "removed"), ("~", "changed")):
        for uid in uids[f"{what}_uids"]:
            click.echo(f"{sign} {uid}")
    total = len(found.added) + len(found.removed) + len(found.changed)
    rest = total - sum(map(len, uids.values()))
    if rest:
        click.echo(f"{rest} more on no roster given")


@list_.command()
@click.argument("file", type=FILE)
@click.option("--keyring", required=True, type=FILE, help="The key ring of the doors.")
@click.option("--site", help="Site of the doors; default: the key ring's, or the list's.")
@click.option(
    "--groups", type=GROUPS, default=0, help="Groups that the door is in; default: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, keyring: Path, site: str | None, groups: int, as_json: bool) -> None:
    """Say whether a door with this key ring would take the list in FILE."""
    ring = open_ring_file(keyring)
    data = read_file(file, MAX_OBJECT_BYTES)
    try:
        site = site or signed.site_of(data, ring)
        taken = lists.verify(data, ring, site, groups)
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    if as_json:
        print_json(
            {
                "issuer": taken.issuer,
                "site": site,
                "version": taken.header.version,
                "badges": taken.count,
            }
        )
        return
    click.echo(f"{file}: ok: {taken.issuer}, version {taken.header.version}, {taken.count} badges")
    if not _may_unlock(ring, taken.header.issuer_id) and _unlocks(data):
        warn(
            f"{file}: doors do not follow its [[unlocked]] hours: {taken.issuer} has no power "
            "unlock in this key ring"
        )


def _may_unlock(ring: KeyRing, issuer_id: bytes) -> bool:
    issuer = ring.issuer(issuer_id)
    return issuer is not None and bool(issuer.powers & MAY_UNLOCK)


def _unlocks(data: bytes) -> bool:
    plan = lists.plan_of(signed.split(data, objects.ALLOWLIST_TYPE))
    return plan is not None and DOOR_LEVEL in plan.levels


@list_.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what the list in FILE says of itself. Whether it is believed is for verify to say."""
    try:
        facts = lists.describe(signed.read(file, objects.ALLOWLIST_TYPE))
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    if as_json:
        print_json(facts)
        return
    facts["classes"] = ", ".join(f"{count} {name}" for name, count in facts["classes"].items())
    facts["includes_deny"] = facts["includes_deny"] or "none"
    facts.update(_spell_schedule(facts.pop("schedule")))
    print_facts(
        (name.replace("_", " "), "never" if value is None else value)
        for name, value in facts.items()
    )


def _spell_schedule(told: dict) -> dict[str, str]:
    if told["time_zone"] is None:
        return {"hours": "none: every level enters at any hour"}
    return {
        "time_zone": told["time_zone"],
        "holidays": ", ".join(told["holidays"]) or "none",
        **{f"level_{level}": hours for level, hours in told["levels"].items()},
        "door_unlocked": told["unlocked"] or "none",
    }


@list_.command()
@click.argument("file", type=FILE)
@click.option("--level", type=click.IntRange(0, MAX_LEVEL), help="Default: all that have hours.")
@click.option("--at", help="2026-12-24T08:00 local, or with an offset or Z; default: now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def hours(file: Path, level: int | None, at: str | None, as_json: bool) -> None:
    """Say what a door would answer by the hours of the list in FILE, and why.

    The hours are those of staff and visitors; responders enter at any hour.
    """
    found = signed.read(file, objects.ALLOWLIST_TYPE)
    try:
        plan = lists.plan_of(found)
        schedule = Schedule(lists.section_of(found))
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    plan = plan or schedules.Plan()
    levels = sorted(plan.levels) if level is None else [level]
    moment = schedules.Moment(plan, schedule, schedules.parse_moment(at, schedule))
    if as_json:
        print_json({**moment.facts(), "levels": [moment.answer(one) for one in levels]})
        return
    click.echo(moment.line())
    if not levels:
        click.echo("every level: yes: the list has no hours")
    for one in levels:
        click.echo(moment.answer_line(one))
