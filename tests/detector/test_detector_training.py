"""Train, export and evaluate on real files: a few scenes, the starter checkpoint, one epoch."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.sample import write_sample
from hakka.detector import export as export_module
from hakka.detector import parallel as parallel_module
from hakka.detector.checkpoint import load_checkpoint
from hakka.detector.decode import decode_image
from hakka.detector.evaluate import evaluate, evaluate_champion, read_evaluation
from hakka.detector.export import ExportParams, export
from hakka.detector.fit import letterbox
from hakka.detector.inference import Plan
from hakka.detector.modelfile import read_model_info, write_record
from hakka.detector.runtime import Detections, load_detector, read_output
from hakka.detector.snapshots import Snapshots
from hakka.detector.torch_compat import load_ultralytics, network
from hakka.detector.train import AUGMENTATIONS, UNBOUNDED, TrainParams, train
from hakka.detector.weights import STARTER, build_module, check_weights, find_start
from hakka.errors import InvalidInput, NotFound, Unavailable
from hakka.files import read_json
from hakka.monitor.rows import read_rows
from hakka.params import read_section
from hakka.registry import publish
from hakka.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with ``data`` (24 scenes), ``dataset``, ``training``, ``model``, ``evaluation``, each made for real."""
    folder = tmp_path_factory.mktemp("training")
    write_sample(folder / "data", images=24, seed=5, size=160)
    convert(folder / "data", folder / "dataset")
    params = read_section(TrainParams, "train", epochs=1, imgsz=160, batch=4, seed=3)
    train(folder / "dataset", folder / "data", folder / "training", params)
    export(folder / "training", folder / "dataset", folder / "data", folder / "model")
    evaluate(folder / "model", folder / "dataset", folder / "data", folder / "evaluation")
    return folder


def test_training_leaves_a_checkpoint_without_pickle_and_its_records(work):
    record = json.loads((work / "training" / "train.json").read_text())
    history = json.loads((work / "training" / "history.json").read_text())
    assert record["start"] == "starter"
    assert record["epochs"] == len(history) == 1
    assert set(history[0]) >= {"epoch", "loss", "val_map50", "val_map50_95"}
    assert sorted(path.name for path in (work / "training").iterdir()) == [
        "history.json",
        "train.json",
        "weights.safetensors",
    ]
    assert load_checkpoint(work / "training" / "weights.safetensors").names == load_dataset(work / "dataset").names


def test_the_same_seed_gives_the_same_weights(work, tmp_path):
    params = read_section(TrainParams, "train", epochs=1, imgsz=160, batch=4, seed=3)
    again = train(work / "dataset", work / "data", tmp_path / "training", params)
    first = json.loads((work / "training" / "train.json").read_text())
    assert again["weights"]["sha256"] == first["weights"]["sha256"]


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(work, tmp_path, monkeypatch, capsys):
    """SIGKILL in the fifth of six epochs, with batches gathered for a step of the optimiser that was not made yet."""
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    options = {"epochs": 6, "imgsz": 96, "batch": 12, "learning_rate": 0.003, "seed": 1}
    params = read_section(TrainParams, "train", **options)
    train(work / "dataset", work / "data", tmp_path / "whole", params)
    script = "\n".join(
        [
            "import sys; from pathlib import Path",
            "from hakka.detector.train import TrainParams, train",
            "from hakka.params import read_section",
            f"train(*map(Path, sys.argv[1:4]), read_section(TrainParams, 'train', **{options}))",
        ]
    )
    places = (work / "dataset", work / "data", tmp_path / "broken")
    command = [sys.executable, "-c", script, *places]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as first:
        next(line for line in first.stdout if line.startswith("epoch 4/6: loss"))
        first.kill()
    assert first.returncode == -signal.SIGKILL
    capsys.readouterr()
    train(*places, params)
    said = capsys.readouterr().out
    assert "going on after epoch " in said
    assert "epoch 1/6" not in said
    whole, broken = (
        [json.loads((tmp_path / name / file).read_text()) for file in ("history.json", "train.json")]
        for name in ("whole", "broken")
    )
    assert len({epoch["val_map50"] for epoch in whole[0]}) > 1, "the weights must change for this to say something"
    assert broken[0] == whole[0]
    assert broken[1]["weights"] == whole[1]["weights"]
    assert list((tmp_path / "home" / "training").iterdir()) == []


def test_weights_of_80_classes_are_trained_on_exported_and_served(work, tmp_path):
    """Of such weights the branches for classes keep their width, which a model of these classes does not have."""
    save_published(tmp_path / "yolo11n.pt", "yolo11n")
    params = read_section(TrainParams, "train", weights=str(tmp_path / "yolo11n.pt"), epochs=1, imgsz=64)
    record = train(work / "dataset", work / "data", tmp_path / "training", params)
    assert record["start"] == "yolo11n.pt"
    export(tmp_path / "training", work / "dataset", work / "data", tmp_path / "model")
    report = evaluate(tmp_path / "model", work / "dataset", work / "data", tmp_path / "evaluation")
    assert 0 <= report["map50"] < 0.5  # it knows nothing yet, but it answers


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:0], id="empty"),
        pytest.param(lambda content: content[:400], id="its beginning"),
        pytest.param(lambda content: content[: len(content) * 3 // 4], id="most of it"),
        pytest.param(lambda content: content[:-1], id="all but a byte"),
        pytest.param(lambda content: content.replace(b"epoch", b"\xff" * 5), id="no text"),
    ],
)
def test_a_damaged_snapshot_is_told_and_the_training_begins_anew(tmp_path, capsys, damage):
    snapshots = Snapshots.claim(tmp_path, "key")
    snapshots.save({"epoch": 3, "weights": torch.zeros(4096)})
    assert snapshots.load()["epoch"] == 3
    path = tmp_path / "key" / "state.pt"
    path.write_bytes(damage(path.read_bytes()))
    assert snapshots.load() is None
    assert f"{path}: the snapshot of an earlier training is damaged: training begins anew" in capsys.readouterr().err
    snapshots.save({"epoch": 0})
    assert snapshots.load() == {"epoch": 0}


def test_a_training_goes_back_an_epoch_after_a_loss_that_is_not_a_number(work, tmp_path, monkeypatch):
    begun = []

    def spoil(trainer):
        begun.append(trainer.epoch)
        if len(begun) == 2:
            trainer.loss = torch.tensor(float("nan"))

    make = parallel_module.make_trainer
    monkeypatch.setattr(
        parallel_module, "make_trainer", lambda *given: _with(make(*given), "on_train_epoch_end", spoil)
    )
    params = read_section(TrainParams, "train", epochs=3, imgsz=160, batch=4, seed=4)
    record = train(work / "dataset", work / "data", tmp_path / "out", params)
    assert begun == [0, 1, 1, 2]
    assert record["epochs"] == 3
    assert load_checkpoint(tmp_path / "out" / "weights.safetensors").names == load_dataset(work / "dataset").names


def _with(trainer, event, callback):
    trainer.add_callback(event, callback)
    return trainer


@pytest.mark.parametrize(("height", "width"), [(160, 160), (96, 160), (160, 128)])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_exported_model_finds_what_the_trained_one_finds(work, engine, height, width):
    """On every image, the served boxes are those of the torch model, to 0.05 pixels and 0.001 of confidence."""
    pytest.importorskip(engine)
    load_ultralytics(read_settings().home / "ultralytics")
    module = load_checkpoint(work / "training" / "weights.safetensors").build()
    module.model[-1].end2end = read_model_info(work / "model").raw["nms_free"]
    detector, data = load_detector(work / "model", Plan(engine)), load_dataset(work / "dataset")
    photos = np.stack([decode_image((work / "data" / entry.image).read_bytes()) for entry in data.entries])
    assert photos.shape[1:] == (160, 160, 3)  # no letterbox: the pixels are the network's input
    photos = photos[:, :height, :width]
    with torch.no_grad():
        output = module(torch.from_numpy(photos.transpose(0, 3, 1, 2).astype(np.float32) / 255))
    raw = (output[0] if isinstance(output, tuple) else output).numpy()
    boxes_found = 0
    for photo, rows in zip(photos, raw, strict=True):
        boxes, scores, labels = read_output(rows, 0.05, detector.info.iou)
        trained = Detections(np.clip(boxes, 0, [width, height] * 2), scores, labels)
        exported = detector.detect(photo, confidence=0.05)
        assert _are_found(trained, exported, pixels=0.05, confidence=1e-3).all()
        assert _are_found(exported, trained, pixels=0.05, confidence=1e-3).all()
        boxes_found += len(trained)
    assert boxes_found > 50


def test_the_precision_of_this_cpu_moves_boxes_by_little(work):
    exact = load_detector(work / "model")
    fast = load_detector(work / "model", Plan(precision="auto"))
    if (exact.inference.precision, fast.inference.precision) == ("f32", "f32"):
        pytest.skip("bf16 is not faster on this CPU")
    assert fast.inference.precision == "bf16"
    found = []
    for entry in load_dataset(work / "dataset").entries:
        photo = decode_image((work / "data" / entry.image).read_bytes())
        wanted, got = exact.detect(photo, confidence=0.05), fast.detect(photo, confidence=0.01)
        found += _are_found(wanted, got, pixels=4, confidence=0.1).tolist()
    assert len(found) > 50
    assert np.mean(found) > 0.95


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_photo_that_is_not_square_takes_less_work_but_in_batches(work, engine):
    photo, shapes = np.zeros((60, 80, 3), np.uint8), []
    for plan in (Plan(engine), Plan(engine, streams=2, batch=0), Plan(engine, batch=2)):
        detector = load_detector(work / "model", plan)
        run = detector.inference.narrow
        noting = lambda pixels, run=run: shapes.append(pixels.shape) or run(pixels)  # noqa: E731
        detector.inference = replace(detector.inference, narrow=noting)
        detector.detect(photo, alone=False)
    assert shapes == [(1, 128, 160, 3), (1, 128, 160, 3), (1, 160, 160, 3)]


def test_a_model_of_an_earlier_release_gets_squares(work, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(work / "model", folder)
    record = read_json(folder / "model.json")
    write_record(folder, {key: value for key, value in record.items() if key != "stride"})
    today, earlier, boxes_found = load_detector(work / "model"), load_detector(folder), 0
    for entry in load_dataset(work / "dataset").entries:
        photo = decode_image((work / "data" / entry.image).read_bytes())[:96]
        square = letterbox(photo, (160, 160))[0]
        expected, found = today.detect(square, confidence=0.05), earlier.detect(photo, confidence=0.05)
        middles = expected.boxes[:, [1, 3]].mean(axis=1)
        assert found.scores.tolist() == expected.scores[(middles > 32) & (middles < 128)].tolist()
        boxes_found += len(found)
    assert boxes_found > 20


def _are_found(wanted, found, *, pixels, confidence, least=0.06):
    """Which of the wanted boxes of a confidence of ``least`` or more were found with their class, this close."""
    near = np.abs(wanted.boxes[:, None] - found.boxes[None]).max(axis=2, initial=0) <= pixels
    near &= np.abs(wanted.scores[:, None] - found.scores[None]) <= confidence
    near &= wanted.class_ids[:, None] == found.class_ids[None]
    return near.any(axis=1)[wanted.scores >= least]


def test_the_model_folder_has_a_reference_for_the_watch(work):
    rows = read_rows(work / "model" / "reference.parquet")
    data = load_dataset(work / "dataset")
    assert len(rows) == len(data.split("val")) + len(data.split("test"))
    assert set(rows["version"]) == {read_model_info(work / "model").version}


def test_metrics_cover_every_class_and_the_report_shows_them(work):
    metrics = json.loads((work / "evaluation" / "metrics.json").read_text())
    data = load_dataset(work / "dataset")
    assert set(metrics["per_class"]) == set(data.names)
    assert metrics["images"] == len(data.split("test"))
    assert metrics["boxes"] == sum(row["instances"] for row in metrics["per_class"].values())
    assert 0 < metrics["map50"] <= 1
    report = (work / "evaluation" / "report.html").read_text()
    assert f"{metrics['map50']:.3f}" in report
    assert all(name in report for name in data.names)


def test_a_champion_is_measured_on_todays_test_set_by_class_names(work, tmp_path):
    none = evaluate_champion(tmp_path / "registry", work / "dataset", work / "data", tmp_path / "none")
    assert none == {"champion": None}
    assert read_evaluation(tmp_path / "none") is None
    publish(work / "model", work / "evaluation", tmp_path / "registry", channel="champion", lineage={})
    again = evaluate_champion(tmp_path / "registry", work / "dataset", work / "data", tmp_path / "again")
    first = json.loads((work / "evaluation" / "metrics.json").read_text())
    assert again["map50"] == first["map50"]

    # the same photos under other names for half of the classes: the champion cannot score there
    renamed = tmp_path / "data"
    shutil.copytree(work / "data", renamed)
    coco = json.loads((renamed / "annotations.json").read_text())
    for category in coco["categories"][::2]:
        category["name"] = f"new {category['name']}"
    (renamed / "annotations.json").write_text(json.dumps(coco))
    convert(renamed, tmp_path / "dataset")
    other = evaluate_champion(tmp_path / "registry", tmp_path / "dataset", renamed, tmp_path / "other")
    assert all(row["ap50"] in (0.0, None) for name, row in other["per_class"].items() if name.startswith("new "))
    kept = [name for name, row in other["per_class"].items() if not name.startswith("new ") and row["ap50"]]
    assert kept


def test_a_dataset_without_validation_images_is_refused(work, tmp_path):
    dataset = tmp_path / "dataset"
    shutil.copytree(work / "dataset", dataset)
    lines = (dataset / "index.jsonl").read_text().splitlines()
    (dataset / "index.jsonl").write_text("\n".join(line for line in lines if '"val"' not in line) + "\n")
    with pytest.raises(InvalidInput, match="split 'val'"):
        train(dataset, work / "data", tmp_path / "out", read_section(TrainParams, "train"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(annotations=[], categories=[]), "training needs at least one class, got 0"),
        (lambda content: content.update(annotations=[]), "training needs at least one box in split 'train', got 0"),
    ],
)
def test_a_dataset_with_nothing_to_learn_is_refused(work, tmp_path, change, words):
    shutil.copytree(work / "data", tmp_path / "data")
    content = json.loads((tmp_path / "data" / "annotations.json").read_text())
    change(content)
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    convert(tmp_path / "data", tmp_path / "dataset")
    with pytest.raises(InvalidInput, match=words):
        train(tmp_path / "dataset", tmp_path / "data", tmp_path / "out", read_section(TrainParams, "train"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imgsz", 100),
        ("imgsz", 0),
        ("epochs", -1),
        ("batch", -1),
        ("seed", -1),
        ("mosaic", 2.0),
        ("augment", {"flip": 1.0}),
        ("augment", {"mixup": 5}),
        ("augment", {"scale": -0.1}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidInput, match=rf"train\.{name}"):
        read_section(TrainParams, "train", **{name: value})


def test_augmentations_are_held_to_the_ranges_of_ultralytics():
    from ultralytics.cfg import CFG_FLOAT_KEYS, CFG_FRACTION_KEYS

    assert set(UNBOUNDED) == set(AUGMENTATIONS) & CFG_FLOAT_KEYS
    assert set(AUGMENTATIONS) - {*UNBOUNDED, "scale"} <= CFG_FRACTION_KEYS
    read_section(TrainParams, "train", augment={"degrees": 180, "shear": -5.0, "mixup": 1})


class TestStart:
    """Which weights are taken."""

    @pytest.fixture(autouse=True)
    def _quiet(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        load_ultralytics(tmp_path / "home" / "ultralytics")

    def test_auto_is_the_starter_for_classes_it_knows(self):
        assert find_start("auto", "", ["apple", "tomato"]).source == "starter"

    def test_a_local_file_in_hakka_weights_comes_first(self, tmp_path, monkeypatch):
        shutil.copyfile(STARTER, tmp_path / "mine.safetensors")
        monkeypatch.setenv("HAKKA_WEIGHTS", str(tmp_path / "mine.safetensors"))
        assert find_start("auto", "", ["apple"]).source == "mine.safetensors"

    def test_a_name_is_found_in_a_weights_folder(self, tmp_path):
        (tmp_path / "weights").mkdir()
        shutil.copyfile(STARTER, tmp_path / "weights" / "yolo26n.safetensors")
        assert find_start("yolo26n.safetensors", "", ["x"]).source == "yolo26n.safetensors"

    def test_a_published_name_that_cannot_be_had_is_refused(self, monkeypatch):
        monkeypatch.setenv("YOLO_OFFLINE", "true")
        with pytest.raises(Unavailable, match=r"yolo26n\.pt is not in .* and cannot be downloaded here"):
            find_start("yolo26n.pt", "", ["x"])

    def test_auto_falls_back_loudly(self, capsys, monkeypatch):
        monkeypatch.setenv("YOLO_OFFLINE", "true")
        start = find_start("auto", "", ["a class that the starter does not know"])
        assert start.source == "starter (instead of yolo26n.pt)"
        assert "cannot be downloaded" in capsys.readouterr().err

    def test_auto_asks_for_the_weights_of_the_model(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YOLO_OFFLINE", "true")
        start = find_start("auto", "yolo26s", ["apple"])  # which the starter knows, but it is of another size
        assert (start.source, start.architecture) == ("scratch (instead of yolo26s.pt)", "yolo26s.yaml")
        assert "cannot be downloaded" in capsys.readouterr().err
        (tmp_path / "weights").mkdir()
        save_published(tmp_path / "weights" / "yolo26s.pt", "yolo26s")
        assert find_start("auto", "yolo26s", ["apple"]).source == "yolo26s.pt"

    def test_weights_of_another_size_are_no_start(self):
        start = find_start("starter", "yolo26n", ["apple"])
        with pytest.raises(InvalidInput, match=r"starter holds 0\.6% of the values of yolo26n\.yaml, at least 10%"):
            build_module(start, ("apple",), 0)

    def test_weights_folder_that_is_not_there_is_said(self, monkeypatch):
        monkeypatch.setenv("HAKKA_WEIGHTS", "/no/such/place")
        with pytest.raises(NotFound, match="HAKKA_WEIGHTS: there is no such file or folder: /no/such/place"):
            check_weights("auto", read_settings())

    def test_auto_takes_any_local_checkpoint_for_new_classes_when_there_is_no_network(self, tmp_path, monkeypatch):
        monkeypatch.setenv("YOLO_OFFLINE", "true")
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "a.pt").write_bytes(b"no checkpoint")
        torch.save(dict(load_checkpoint(STARTER).tensors), tmp_path / "weights" / "yolo11n-another.pt")  # does not fit
        save_published(tmp_path / "published.pt", "yolo11n")
        tensors = torch.load(tmp_path / "published.pt", weights_only=False)["model"].state_dict()
        torch.save(dict(tensors), tmp_path / "weights" / "yolo11n-mine.pt")
        start = find_start("auto", "", ["a class that the starter does not know"])
        assert start.source == "yolo11n-mine.pt (instead of yolo26n.pt)"
        assert start.architecture == "yolo11n.yaml"

    def test_a_state_dict_that_is_named_for_another_task_names_no_architecture(self, tmp_path):
        torch.save({"model.0.conv.weight": torch.zeros(1)}, tmp_path / "yolo11n-seg.pt")
        with pytest.raises(InvalidInput, match="does not say its architecture"):
            find_start(str(tmp_path / "yolo11n-seg.pt"), "", ["x"])

    def test_only_a_download_may_use_the_network(self, monkeypatch):
        from ultralytics.utils import env_bool

        monkeypatch.delenv("YOLO_OFFLINE")
        load_ultralytics(read_settings().home / "ultralytics")
        assert env_bool("YOLO_OFFLINE")
        with network():
            assert not env_bool("YOLO_OFFLINE")
        assert env_bool("YOLO_OFFLINE")
        monkeypatch.setenv("YOLO_OFFLINE", "true")  # the user's word holds
        with network():
            assert env_bool("YOLO_OFFLINE")

    @pytest.mark.parametrize("weights", ["no/such/file.pt", "nonsense"])
    def test_what_does_not_exist_is_one_sentence(self, weights):
        with pytest.raises(NotFound, match="neither a file nor the name"):
            find_start(weights, "", ["x"])

    @pytest.mark.parametrize("weights", ["no/such/file.pt", "nosuch.pt", "~nobody-here/yolo26n.pt"])
    def test_what_does_not_exist_is_refused_before_the_dataset_is_looked_at(self, tmp_path, weights):
        params = read_section(TrainParams, "train", weights=weights)
        with pytest.raises(NotFound, match=f"weights: '{weights}' is neither a file nor the name"):
            train(tmp_path / "nowhere", tmp_path, tmp_path / "out", params)

    @pytest.mark.parametrize("weights", ["auto", "starter", "scratch", "yolo26s.pt", "YOLOv8n", "~/mine.pt", "kept.pt"])
    def test_what_is_here_or_may_be_downloaded_passes_without_the_network(self, tmp_path, monkeypatch, weights):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "weights").mkdir()
        for path in (tmp_path / "mine.pt", tmp_path / "weights" / "kept.pt"):
            path.write_bytes(b"x")
        check_weights(weights, read_settings())

    def test_a_checkpoint_that_would_run_code_is_refused(self, tmp_path):
        torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
        with pytest.raises(InvalidInput, match=r"would run code that it holds; .* set train\.trust_weights to true"):
            find_start(str(tmp_path / "bomb.pt"), "", ["x"])
        assert not (tmp_path / "bombed").exists()

    def test_a_checkpoint_that_runs_code_is_taken_if_it_is_trusted(self, tmp_path):
        save_published(tmp_path / "theirs.pt", "yolo26n", more=Bomb())
        with pytest.raises(InvalidInput, match="trust_weights"):
            find_start(str(tmp_path / "theirs.pt"), "", ["x"])
        assert not (tmp_path / "bombed").exists()
        start = find_start(str(tmp_path / "theirs.pt"), "", ["x"], trusted=True)
        assert (tmp_path / "bombed").exists()
        assert build_module(start, ("x",), 0)[1] > 0.9

    def test_a_model_of_another_task_is_refused(self, tmp_path):
        from ultralytics.nn.tasks import SegmentationModel

        torch.save({"model": SegmentationModel("yolo26n-seg.yaml", verbose=False)}, tmp_path / "yolo26n-mine.pt")
        with pytest.raises(InvalidInput, match="must be of a YOLO detector, got a SegmentationModel"):
            find_start(str(tmp_path / "yolo26n-mine.pt"), "", ["x"])
        with pytest.raises(NotFound, match="neither a file nor the name of a detector"):
            check_weights("yolo26n-seg.pt", read_settings())
        with pytest.raises(InvalidInput, match=r"train\.model must be a YOLO name"):
            read_section(TrainParams, "train", model="yolo26n-seg")

    def test_what_is_no_checkpoint_is_one_sentence(self, tmp_path):
        (tmp_path / "yolov5n.pt").write_bytes(b"no checkpoint")  # a name that ultralytics would look for elsewhere
        with pytest.raises(InvalidInput, match=r"yolov5n\.pt: not a checkpoint that torch has written"):
            find_start(str(tmp_path / "yolov5n.pt"), "", ["x"])
        torch.save({"epoch": object}, tmp_path / "yolov5n.pt")
        with pytest.raises(InvalidInput, match=r"yolov5n\.pt: "):
            find_start(str(tmp_path / "yolov5n.pt"), "", ["x"])

    def test_a_plain_state_dict_needs_its_architecture(self, tmp_path):
        checkpoint = load_checkpoint(STARTER)
        torch.save(dict(checkpoint.tensors), tmp_path / "bare.pt")
        with pytest.raises(InvalidInput, match="--model"):
            find_start(str(tmp_path / "bare.pt"), "", ["x"])
        assert find_start(str(tmp_path / "bare.pt"), "yolov5n", ["x"]).architecture == "yolov5n.yaml"


def save_published(path: Path, model: str, **more: object) -> None:
    """A checkpoint as ultralytics publishes them: 80 classes, 16 bits."""
    from ultralytics.nn.tasks import DetectionModel

    module = DetectionModel(f"{model}.yaml", nc=80, verbose=False).half()
    module.names = {i: f"thing {i}" for i in range(80)}
    torch.save({"model": module, **more}, path)


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __reduce__(self):
        return (open, ("bombed", "w"))


def test_int8_is_served_within_its_budget_and_finds_the_same_things(work, tmp_path):
    params = read_section(ExportParams, "export", precision="int8", int8_budget=0.1, calibration_images=8)
    record = export(work / "training", work / "dataset", work / "data", tmp_path / "model", params)
    info = read_model_info(tmp_path / "model")
    assert (record["precision"], info.raw["precision"]) == ("int8", "int8")
    assert record["int8"]["val_map50_int8"] >= record["int8"]["val_map50_fp32"] - 0.1
    assert info.version != read_model_info(work / "model").version
    assert (tmp_path / "model" / "model.bin").stat().st_size < 0.6 * (work / "model" / "model.bin").stat().st_size
    assert (tmp_path / "model" / "model.onnx").read_bytes() == (work / "model" / "model.onnx").read_bytes()
    evaluate(tmp_path / "model", work / "dataset", work / "data", tmp_path / "evaluation")
    full, low = (read_evaluation(path).map50 for path in (work / "evaluation", tmp_path / "evaluation"))
    assert low > 0.5 * full > 0


def test_int8_beyond_its_budget_is_not_served(work, tmp_path, monkeypatch, caplog):
    """Black pictures spoil the ranges of the quantiser. What is served then is, byte for byte, the export in fp32."""
    blind = export_module.quantize
    black = [np.zeros((32, 32, 3), np.uint8)]
    monkeypatch.setattr(export_module, "quantize", lambda model, out, images, *rest: blind(model, out, black, *rest))
    params = read_section(ExportParams, "export", precision="int8", int8_budget=0.0, calibration_images=1)
    record = export(work / "training", work / "dataset", work / "data", tmp_path / "model", params)
    assert record["int8"]["val_map50_int8"] < record["int8"]["val_map50_fp32"]
    assert record["precision"] == read_model_info(tmp_path / "model").raw["precision"] == "fp32"
    assert record["version"] == read_model_info(work / "model").version
    assert "more than its budget" in caplog.text
