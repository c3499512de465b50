"""The stage: which checkpoints a run may go on from, and what it hands on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.config import PlatformConfig
from tessera_core.errors import ArtifactError, RecordError
from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.encoder import count_parameters
from tessera_core.ports import OFFLINE
from tessera_core.pretrain import stage
from tessera_core.pretrain.outcome import FIGURE_FOLDER
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import Manifest
from tessera_core.records.paths import Paths
from tessera_core.shuffle import stage as shuffle_stage
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.tiles import make_grid
from tessera_core.testing.tracker import InMemoryTracker
from tests.unit.chain import TINY_OVERRIDES, ingest_by_hand


@pytest.fixture(scope="module")
def configure(repo):
    """A function that reads the shipped settings, made tiny, with further overrides."""
    return lambda *overrides: PlatformConfig.read(repo / "params.yaml", TINY_OVERRIDES + overrides)


@pytest.fixture(scope="module")
def shuffled(configure, tmp_path_factory):
    """A workspace in which ingest and shuffle have run; not to be changed."""
    paths = ingest_by_hand(tmp_path_factory.mktemp("shuffled"))
    shuffle_stage.run(configure(), paths, OFFLINE)
    return paths


@pytest.fixture(scope="module")
def trained(configure, shuffled, tmp_path_factory):
    """A workspace that was trained in too, what came of it and what was reported; likewise."""
    paths, tracker = (
        copy_of(shuffled, tmp_path_factory.mktemp("trained") / "work"),
        InMemoryTracker(),
    )
    outcome = stage.run(configure(), paths, replace(OFFLINE, tracker=tracker))
    return paths, outcome, tracker


@pytest.fixture
def workspace(shuffled, tmp_path):
    """A function that returns a fresh copy of the workspace without a training."""
    return lambda name="work": copy_of(shuffled, tmp_path / name)


@pytest.fixture
def used(trained, tmp_path):
    """A fresh copy of the workspace with a training."""
    return copy_of(trained[0], tmp_path / "used")


def copy_of(paths, root):
    shutil.copytree(paths.root, root)
    return Paths(root=root, workspace=root)


def checkpoint_folders(paths):
    return sorted(paths.checkpoints.iterdir())


def test_the_artifact_has_the_configured_shape_and_the_norms_of_the_shards(trained):
    paths, outcome, _ = trained

    model = load_artifact(paths.model)

    assert model.config == TINY_CONFIG
    assert model.norms.to_dict() == json.loads((paths.shards / "norms.json").read_text())
    assert outcome.outputs == (
        paths.model / "manifest.json",
        paths.training / "history.json",
        *(paths.training / f"{name}.png" for name in ("correlation", "curves", "spectrum")),
    )
    assert {path.parent for path in outcome.outputs[1:]} == {paths.training}
    assert set(paths.training.iterdir()) == set(outcome.outputs[1:]), "nothing is left unlisted"


def test_facts_say_what_was_trained_on_what(configure, trained):
    paths, outcome, _ = trained

    model, shards, facts = load_artifact(paths.model), Manifest.read(paths.shards), outcome.facts

    assert facts["model_digest"] == model.digest
    assert facts["shards"] == shards.digest
    assert facts["num_train_pixels"] == shards.facts["num_pixels"]["train"]
    assert facts["num_parameters"] == count_parameters(model.encoder)
    assert facts["num_steps"] == 6
    assert facts["seed"] == configure().pretrain.seed
    assert facts["selected"] is None
    assert facts["final"]["loss/total"] > 0
    assert "step" not in facts["final"]


def test_the_history_has_one_record_per_logged_step(trained):
    history = json.loads((trained[0].training / "history.json").read_text())

    assert [record["step"] for record in history] == [1, 3, 5]
    assert all(np.isfinite(list(record.values())).all() for record in history)


def test_curves_correlation_and_spectrum_are_drawn_and_reported(trained):
    paths, _, tracker = trained

    reported = [(path.name, folder) for path, folder in tracker.artifacts]

    assert reported == [
        (f"{name}.png", FIGURE_FOLDER) for name in ("correlation", "curves", "spectrum")
    ]
    assert all(path.parent == paths.training for path, _ in tracker.artifacts)


def test_two_workspaces_give_the_same_bytes(configure, trained, workspace):
    one, other = trained[0], workspace()

    stage.run(configure(), other, OFFLINE)

    assert Manifest.read(one.model).digest == Manifest.read(other.model).digest
    for name in ("history.json", "curves.png", "correlation.png", "spectrum.png"):
        digests = [digest_file(p.training / name, p.root) for p in (one, other)]
        assert digests[0] == digests[1]


@pytest.mark.parametrize("override", ["pretrain.seed=18", "pretrain.num_steps=8"])
def test_checkpoints_of_another_config_are_never_picked_up(configure, used, workspace, override):
    fresh, before = workspace("fresh"), Manifest.read(used.model).digest

    for paths in (used, fresh):
        stage.run(configure(override), paths, OFFLINE)

    assert len(checkpoint_folders(used)) == 2
    assert Manifest.read(used.model).digest == Manifest.read(fresh.model).digest
    assert Manifest.read(used.model).digest != before


def test_checkpoints_of_other_shards_are_never_picked_up(configure, used, workspace):
    fresh = workspace("fresh")

    for paths in (used, fresh):
        shuffle_stage.run(configure("shuffle.seed=14"), paths, OFFLINE)
        stage.run(configure(), paths, OFFLINE)

    assert len(checkpoint_folders(used)) == 2
    assert Manifest.read(used.model).digest == Manifest.read(fresh.model).digest


def test_settings_of_other_stages_do_not_move_the_checkpoints(configure, used):
    stage.run(configure("export.batch_size=64", "evaluate.seed=3"), used, OFFLINE)

    assert len(checkpoint_folders(used)) == 1


def test_a_run_goes_on_from_its_own_checkpoint_and_ends_the_same(configure, used):
    whole = Manifest.read(used.model).digest
    (folder,) = checkpoint_folders(used)
    kept = {path.name for path in folder.iterdir()} - {".lock"}
    assert kept == {f"step-0000000{step}.{kind}" for step in (4, 6) for kind in ("pt", "json")}

    for kind in ("pt", "json"):
        (folder / f"step-00000006.{kind}").unlink()
    shutil.rmtree(used.model)
    stage.run(configure(), used, OFFLINE)

    assert Manifest.read(used.model).digest == whole


def test_without_labels_training_runs_unwatched(configure, workspace):
    paths = workspace()

    stage.run(configure("pretrain.probe_every=2"), paths, OFFLINE)

    history = json.loads((paths.training / "history.json").read_text())
    assert not [record for record in history if "probe/accuracy" in record]


@pytest.fixture
def given(workspace):
    """A workspace beside whose data lies a model from elsewhere."""
    paths = workspace()
    write_artifact(
        paths.imported / "given", tiny_encoder(9), TINY_CONFIG, NORMS, random_pixels(4, 2),
        facts={"source": {"file": "w.pt", "sha256": "5" * 64, "size": 1}},
    )  # fmt: skip
    return paths


def test_an_imported_model_is_taken_byte_for_byte_and_nothing_is_trained(configure, given):
    config = configure("pretrain.imported=data/imported/given")

    outcome = stage.run(config, given, OFFLINE)

    source = Manifest.read(given.imported / "given")
    assert Manifest.read(given.model).digest == source.digest
    assert load_artifact(given.model).digest == outcome.facts["model_digest"] == source.digest
    assert outcome.facts["imported"]["sha256"] == "5" * 64
    assert outcome.facts["num_steps"] == outcome.facts["num_train_pixels"] == 0
    assert json.loads((given.training / "history.json").read_text()) == []
    assert not given.checkpoints.exists()


def test_an_imported_model_that_was_changed_is_refused(configure, given):
    path = given.imported / "given" / "norms.json"
    path.write_text(path.read_text().replace("5600", "5601"))

    with pytest.raises(ArtifactError, match=r"norms\.json: content differs"):
        stage.run(configure("pretrain.imported=data/imported/given"), given, OFFLINE)

    assert not given.model.exists()


@pytest.mark.parametrize("setting", ["teacher", "imported"])
def test_the_models_that_training_starts_from_are_sources_of_its_receipt(configure, given, setting):
    sources = stage.sources(configure(f"pretrain.{setting}=data/imported/given"), given)

    manifest = given.imported / "given" / "manifest.json"
    assert digest_file(manifest, given.root) in sources


def test_a_student_may_be_cut_and_another_teacher_gives_another_run(configure, given):
    write_artifact(
        given.imported / "other", tiny_encoder(8), TINY_CONFIG, NORMS, random_pixels(4, 2)
    )
    digests = set()

    for name in ("given", "other"):
        outcome = stage.run(configure(f"pretrain.teacher=data/imported/{name}"), given, OFFLINE)
        digests.add(Manifest.read(given.model).digest)
        assert outcome.facts["teacher"] == Manifest.read(given.imported / name).digest
    stage.run(configure(), given, OFFLINE)

    digests.add(Manifest.read(given.model).digest)
    assert len(digests) == 3
    assert len(checkpoint_folders(given)) == 3


def test_a_teacher_that_is_not_there_is_refused(configure, given):
    with pytest.raises(RecordError, match=r"cannot read .*nobody"):
        stage.sources(configure("pretrain.teacher=data/imported/nobody"), given)


def test_a_run_goes_on_from_another_one_in_what_the_settings_accept(configure, used):
    (first,) = checkpoint_folders(used)
    longer = ("pretrain.num_steps=8", f"pretrain.continue_from={first.relative_to(used.root)}")

    with pytest.raises(ArtifactError, match=r"another in pretrain\.num_steps 6 -> 8\. To go on"):
        stage.run(configure(*longer), used, OFFLINE)
    config = configure(*longer, "pretrain.accept_changes=[num_steps]")
    stage.run(config, used, OFFLINE)

    history = json.loads((used.training / "history.json").read_text())
    assert [record["step"] for record in history] == [1, 3, 5, 7]
    assert digest_file(first / "step-00000006.json", used.root) in stage.sources(config, used)
    assert sorted(path.name for path in first.glob("*.pt")) == [
        "step-00000004.pt", "step-00000006.pt",
    ]  # fmt: skip


def test_a_run_that_starts_anew_says_which_one_it_leaves_unfinished(configure, workspace, capsys):
    paths = workspace()
    settings = configure("pretrain.num_steps=9")
    stage.run(settings, paths, OFFLINE)
    (first,) = checkpoint_folders(paths)
    for newest in first.glob("step-00000009.*"):
        newest.unlink()
    capsys.readouterr()

    stage.run(configure("pretrain.num_steps=9", "pretrain.num_loaders=1"), paths, OFFLINE)
    stage.run(settings, paths, OFFLINE)

    said = capsys.readouterr().err
    assert (
        f"starting anew: {first.name} stopped at step 8 of 9 and differs in "
        "pretrain.num_loaders 0 -> 1; to go on from it: "
        f"--set pretrain.continue_from=data/checkpoints/{first.name} "
        "--set 'pretrain.accept_changes=[num_loaders]'"
    ) in said
    assert said.count("starting anew") == 1


@pytest.fixture
def labelled(workspace):
    """A workspace with labels: every pixel is a field of its own, in two classes."""
    paths, grid = workspace(), make_grid(width=9, height=8)
    parcel = np.arange(1, 73).reshape(8, 9)
    (paths.root / "labels").mkdir()
    for name, values in (("crop_type", 1 + parcel % 2), ("parcel_id", parcel)):
        path = paths.root / "labels" / f"{name}.tif"
        write_raster(path, values.astype(np.int32), grid, nodata=0)
    return paths


def test_with_labels_the_probe_chooses_and_training_is_the_same(configure, labelled):
    overrides = ("evaluate.labels=labels", "pretrain.batch_size=16")
    states = {}

    for every in (0, 2):
        config = configure(*overrides, f"pretrain.probe_every={every}")
        facts = stage.run(config, labelled, OFFLINE).facts
        (folder,) = set(checkpoint_folders(labelled)) - {one for one, _ in states.values()}
        states[every] = folder, torch.load(folder / "step-00000006.pt", weights_only=True)

    history = json.loads((labelled.training / "history.json").read_text())
    scores = {record["step"]: record["probe/accuracy"] for record in history}
    best = max(scores, key=scores.get)
    assert list(scores) == [1, 3, 5]
    assert facts["selected"] == {"step": best, "score": scores[best]}
    unwatched, watched = (state["model"] for _, state in states.values())
    assert all(torch.equal(watched[name], value) for name, value in unwatched.items())
    chosen = load_artifact(labelled.model).encoder.state_dict()
    assert all(torch.equal(chosen[n], v) for n, v in states[2][1]["best"]["encoder"].items())


def test_labels_that_choose_are_sources_of_the_receipt(configure, labelled):
    sources = stage.sources(configure("evaluate.labels=labels"), labelled)

    assert [source.path for source in sources] == ["labels/crop_type.tif", "labels/parcel_id.tif"]
