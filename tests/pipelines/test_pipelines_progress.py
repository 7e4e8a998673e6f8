"""kfp's chatter, fed line by line as kfp 2.17.0 writes it, and what a person sees of it."""

import io
import logging
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.progress import Progress, explain


class Log(io.StringIO):
    name = "/runs/r1/log.txt"


@pytest.fixture
def seen():
    return []


@pytest.fixture
def progress(seen):
    return Progress(Log(), seen.append)


def say(progress, message):
    assert progress.filter(logging.LogRecord("root", logging.INFO, "", 0, message, None, None)) is False


STEP = (
    "[KFP Executor 2026-01-02 03:04:05,678 INFO]: Looking for component `train_detector` in a file\n"
    "[KFP Executor 2026-01-02 03:04:05,678 INFO]: Got executor_input:\n"
    '{\n    "inputs": {\n        "parameterValues": {}\n    }\n}\n'
    "epoch 1/2: loss 3.0\n"
    "[KFP Executor 2026-01-02 03:04:05,678 INFO]: a word of a library\n\n"
    "[KFP Executor 2026-01-02 03:04:05,678 INFO]: Wrote executor output file to /x.\n"
)


def test_a_step_is_a_start_its_own_words_and_an_end_with_seconds(progress, seen):
    say(progress, "Executing task \x1b[96m'train-detector'\x1b[0m")
    progress.write(STEP[:60])
    progress.write(STEP[60:])
    say(progress, "Task \x1b[96m'train-detector'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m")
    progress.write("-" * 80 + "\n")
    assert seen[:3] == ["train: started", "  epoch 1/2: loss 3.0", "  a word of a library"]
    assert seen[3].startswith("train: done in ")
    assert len(seen) == 4
    assert [(step.name, step.state) for step in progress.steps] == [("train", "done")]


def test_a_reused_step_says_so(progress, seen):
    say(progress, "Task train-detector cache hit (key=0123456789ab); skipping execution.")
    assert seen == ["train: reused from an earlier run"]
    assert progress.steps[0].state == "reused"


def scan(progress, shard, words):
    """One shard's life, in small pieces of text."""
    say(progress, "Executing task 'scan-images'")
    progress.write("[KFP Executor 2026-01-02 03:04:05,678 INFO]: Got executor_input:\n")
    for piece in ('{\n  "inputs": {\n    "param', f'eterValues": {{"shard": "{shard}"}}\n', "  }\n", "}\n"):
        progress.write(piece)
    for word in words:
        progress.write(word)
        progress.write("\n")
    say(progress, "Task 'scan-images' finished with status SUCCESS")


def test_shards_that_run_at_once_do_not_talk_into_each_other(progress, seen):
    words = [f"{number} of 500 images" for number in range(100, 501, 100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: scan(progress, f"{number}/4", words), range(1, 5)))
    for number in range(1, 5):
        name = f"scan {number}/4"
        own = [line for line in seen if line.strip().startswith(name)]
        assert own[:-1] == [f"{name}: started", *(f"  {name}: {word}" for word in words)]
        assert own[-1].startswith(f"{name}: done in ")
    assert len(seen) == 4 * 7


def test_the_only_shard_goes_by_the_name_of_the_step(progress, seen):
    scan(progress, "1/1", ["100 of 100 images"])
    assert seen[:2] == ["scan: started", "  100 of 100 images"]
    assert seen[2].startswith("scan: done in ")


def train(progress, title):
    say(progress, "Executing task 'train-detector'")
    progress.write("[KFP Executor 2026-01-02 03:04:05,678 INFO]: Got executor_input:\n{\n")
    progress.write(f'  "training": {{\n    "imgsz": 64.0,\n    "label": "{title}"\n  }}\n}}\nepoch 1/1: loss 3.0\n')
    say(progress, "Task 'train-detector' finished with status SUCCESS")


def test_a_variant_goes_by_its_title_and_the_runs_own_settings_by_the_name_of_the_step(progress, seen):
    train(progress, r"model=\"x\"")
    train(progress, "")
    assert seen[:2] == ['train model="x": started', '  train model="x": epoch 1/1: loss 3.0']
    assert seen[3:5] == ["train: started", "  epoch 1/1: loss 3.0"]
    assert [step.name for step in progress.steps] == ['train model="x"', "train"]


def test_shards_that_are_reused_are_one_line(progress, seen):
    for _ in range(3):
        say(progress, "Task scan-images cache hit (key=0123456789ab); skipping execution.")
    assert seen == ["scan: reused from an earlier run"]
    assert len(progress.steps) == 3


def test_an_export_goes_by_the_title_of_the_variant_and_not_by_that_of_its_training(progress, seen):
    say(progress, "Executing task 'export-detector'")
    progress.write("[KFP Executor 2026-01-02 03:04:05,678 INFO]: Got executor_input:\n{\n")
    progress.write('  "training": {\n    "label": "imgsz=64"\n  },\n  "title": "imgsz=64, precision=int8"\n}\n')
    assert seen == ["export imgsz=64, precision=int8: started"]


def test_a_training_that_a_variant_before_it_needed_too_is_none_of_an_earlier_run(progress, seen):
    train(progress, "imgsz=64")
    say(progress, "Task train-detector cache hit (key=0123456789ab); skipping execution.")
    assert seen[-1] == "train: reused"


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        ("hakka.errors.InvalidInput: box 3: width must be > 0, got -4", "box 3: width must be > 0, got -4", 2),
        ("hakka.errors.CheckFailed: the dataset must pass", "the dataset must pass", 1),
    ],
)
def test_an_error_of_hakka_ends_the_run_in_its_own_sentence(progress, seen, error, sentence, code):
    say(progress, "Executing task 'convert-annotations'")
    progress.write(f'Traceback (most recent call last):\n  File "x.py", line 1\n{error}\n')
    say(progress, "Task 'convert-annotations' finished with status FAILURE")
    assert (progress.failure.sentence, progress.failure.exit_code) == (sentence, code)
    assert seen[0] == "convert: started"
    assert seen[1].startswith("convert: failed after ")
    assert len(seen) == 2


def test_the_last_of_chained_errors_counts(progress, seen):
    say(progress, "Executing task 'train-detector'")
    progress.write("Traceback (most recent call last):\n  a\nKeyError: 'x'\n\n")
    progress.write("During handling of the above exception, another exception occurred:\n\n")
    progress.write("Traceback (most recent call last):\n  b\nhakka.errors.NotFound: no weights\n")
    say(progress, "Task 'train-detector' finished with status FAILURE")
    assert progress.failure.sentence == "no weights"
    assert len(seen) == 2


def test_a_step_that_ctrl_c_ends_was_interrupted_and_did_not_fail(progress, seen):
    say(progress, "Executing task 'convert-annotations'")
    with pytest.raises(KeyboardInterrupt):
        progress.interrupt(signal.SIGINT, None)
    say(progress, "Task 'convert-annotations' finished with status FAILURE")
    assert seen[1].startswith("convert: interrupted after ")
    assert [step.state for step in progress.steps] == ["interrupted"]
    assert progress.failure is None


@pytest.mark.parametrize(("error", "word"), [("ValueError: what", "ValueError: what"), ("", "killed")])
def test_any_other_end_names_the_step_and_the_log(error, word):
    failure = explain("train", error, "/runs/r1/log.txt")
    assert failure.exit_code == 2
    assert failure.sentence.startswith("step train failed: ")
    assert word in failure.sentence
    assert failure.sentence.endswith("/runs/r1/log.txt")
