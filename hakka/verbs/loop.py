"""``hakka run | compile | submit | schedule | serve | app | up``: what lives beside the domain becomes a process."""

import argparse
import os
import sys
from collections.abc import Sequence

from hakka.signals import hold_signals
from hakka.verbs.shared import Verbs, add_verb

# The domain imports none of these packages; they are told which verb was meant.
ELSEWHERE = {
    "run": ("pipelines", "run"),
    "compile": ("pipelines", "compile"),
    "submit": ("pipelines", "submit"),
    "schedule": ("pipelines", "schedule"),
    "serve": ("serving",),
    "app": ("app",),
}
ABOUT = {
    "run": ("run the training pipeline on this machine", "hakka run --data photos --epochs 20"),
    "compile": ("write the pipeline for the Kubeflow Pipelines dashboard", "hakka compile"),
    "submit": ("upload and run the pipeline on a cluster", "hakka submit --host http://localhost:8888"),
    "schedule": ("run the pipeline on a cluster again and again", "hakka schedule --host URL --cron '0 0 3 * * 1'"),
    "serve": ("serve the champion over KServe's protocols", "hakka serve --port 8080"),
    "app": ("serve the cook's page", "hakka app --port 8501"),
}


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs of the loop; those that live elsewhere parse their own options."""
    for name, (about, example) in ABOUT.items():
        add_verb(verbs, name, lambda options: 2, about, example)
    up = add_verb(
        verbs, "up", run_up, "run the pipeline, then the endpoint and the app until Ctrl-C", "hakka up --data sample"
    )
    up.add_argument(
        "--data", default="sample", metavar="DIR", help="folder of photos and annotations (default: sample)"
    )
    up.add_argument("--no-run", action="store_true", help="serve what the registry holds without running the pipeline")


def hand_over(verb: str, arguments: Sequence[str]) -> int:
    """Become ``python -m PACKAGE …``: same terminal, same process, so signals and exit codes are its own.

    Signals that ask for an end are held: the package releases them when it can answer.
    """
    hold_signals()
    sys.stdout.flush()
    sys.stderr.flush()
    module, *first = ELSEWHERE[verb]
    os.execv(sys.executable, [sys.executable, "-m", module, *first, *arguments])  # noqa: S606


def run_up(options: argparse.Namespace) -> int:
    """Run and serve."""
    from hakka.launcher import launch

    return launch(None if options.no_run else options.data)
