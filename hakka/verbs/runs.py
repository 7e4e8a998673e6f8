"""``hakka runs | track``: what the runs of this machine came to, and their mirror in ClearML."""

import argparse
from pathlib import Path
from typing import Any

from hakka.settings import read_settings
from hakka.verbs.shared import Verbs, add_json, add_verb, print_json, print_rows


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of the runs."""
    runs = add_verb(
        verbs, "runs", run_runs, "list the runs of this machine, or compare some", "hakka runs 20260102-0304 20260103"
    )
    runs.add_argument("runs", nargs="*", metavar="RUN", help="compare these runs: the beginning of an id is enough")
    add_json(runs)

    track = add_verb(verbs, "track", run_track, "upload runs to a ClearML server", "hakka track import")
    track.add_argument("action", choices=["import"], help="import: upload the sessions of runs that were offline")
    track.add_argument(
        "session", nargs="*", type=Path, metavar="ZIP", help="session files (default: those of all runs not uploaded)"
    )
    add_json(track)


def run_runs(options: argparse.Namespace) -> int:
    """List or compare."""
    from hakka.history import differences, find_run, read_runs, run_row

    folder = read_settings().runs
    if options.runs:
        records = [find_run(folder, name) for name in options.runs]
        columns = [record["run"] for record in records]
        changed = differences(records)
        if options.json:
            print_json({"runs": columns, "values": changed})
        else:
            print_rows([["", *columns], *([name, *map(_shown, values)] for name, values in changed.items())])
        return 0
    rows = [run_row(record) for record in read_runs(folder)]
    if options.json:
        print_json(rows)
    for row in () if options.json else rows:
        map50 = "-" if row["map50"] is None else f"{row['map50']:.3f}"
        print(
            f"{row['run']}  {row['status'] or '-':<11}  data {(row['data_revision'] or '-')[:14]:<14}  "
            f"epochs {row['epochs'] or '-':>3}  mAP50 {map50:>5}  {row['decision'] or '-':<7}  {row['version'] or ''}"
        )
    if not rows and not options.json:
        print(f"no run in {folder} yet: `hakka run` makes one")
    return 0


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run_track(options: argparse.Namespace) -> int:
    """Upload sessions; a run that was uploaded says so in its record and is not uploaded again."""
    from hakka.files import write_json
    from hakka.history import read_runs
    from hakka.tracking import import_session

    folder = read_settings().runs
    waiting: dict[Path, dict[str, Any] | None] = dict.fromkeys(options.session)
    for run in read_runs(folder) if not options.session else ():
        mirror = run.get("clearml") or {}
        if mirror.get("mode") == "offline" and mirror.get("session"):
            waiting[Path(mirror["session"])] = run
    tasks = {}
    for session, record in waiting.items():
        task = tasks[str(session)] = import_session(session)
        if record is not None:
            mirrored = {**record["clearml"], "task": task, "mode": "imported"}
            write_json(folder / record["run"] / "run.json", {**record, "clearml": mirrored})
        if not options.json:
            print(f"{session}: task {task}", flush=True)
    if options.json:
        print_json(tasks)
    elif not tasks:
        print("nothing to upload: every run has its task already, or there is none")
    return 0
