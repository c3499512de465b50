"""Each document is valid by its own makers' library, and says what the run was."""

import dataclasses
import io
import json
import shutil
import zipfile

import pytest

from tessera_core.lineage.attest.attested import find_attested
from tessera_core.lineage.attest.cards import render_datasheet, render_model_card
from tessera_core.lineage.attest.crate import write_crate
from tessera_core.lineage.attest.croissant import CONTEXT, describe_samples
from tessera_core.lineage.attest.cyclonedx import bill_of_materials
from tessera_core.lineage.attest.intoto import export_statement, training_statement
from tessera_core.lineage.attest.openlineage import run_events, run_id
from tests.unit.lineage.attest.built import COMMIT, EXPORT, TIMES, VERSIONS, World


@pytest.mark.parametrize("make", [training_statement, export_statement])
def test_provenance_is_an_in_toto_statement_with_a_slsa_predicate(subject, make):
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    statement = make(subject)

    parsed = json_format.ParseDict(statement, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(statement["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type
    assert predicate.run_details.builder.id


def test_every_statement_of_a_folder_is_valid(signed):
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    for path in signed.glob("*.intoto.json"):
        stored = json.loads(path.read_bytes())
        parsed = json_format.ParseDict(stored, statement_pb2.Statement())
        Statement.copy_from_pb(parsed).validate()


def test_training_provenance_names_model_files_settings_receipts_and_commit(world, subject):
    statement = training_statement(subject)

    files = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert files.keys() == {"encoder.safetensors", "config.json", "manifest.json"}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"pretrain": {"seed": 7, "path": None}}
    digests = [each["digest"] for each in definition["resolvedDependencies"]]
    assert {"gitCommit": COMMIT} in digests
    for stage in ("ingest", "quality", "shuffle"):
        assert {"sha256": subject.training[stage]} in digests


def test_export_provenance_names_the_model_it_was_made_with(subject):
    statement = export_statement(subject)

    names = {each["name"] for each in statement["subject"]}
    assert names == {"npy/a/a.npy", "preview.png", "manifest.json"}
    used = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    model = {file.path: file.sha256 for file in subject.manifests["model"].files}
    assert {"name": "model/encoder.safetensors",
            "digest": {"sha256": model["encoder.safetensors"]}} in used  # fmt: skip


def test_the_bill_of_materials_is_valid_cyclonedx(subject):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = json.dumps(bill_of_materials(subject, VERSIONS))

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None


def test_the_bill_lists_scores_of_the_model_and_not_of_its_baselines(subject):
    model = bill_of_materials(subject, VERSIONS)["metadata"]["component"]

    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [(each["slice"], each["value"]) for each in metrics] == [
        ("crop_type: encoder/linear", "0.7")
    ]
    assert metrics[0]["confidenceInterval"] == {"lowerBound": "0.65", "upperBound": "0.75"}


def test_the_bill_lists_libraries_only_of_the_environment_that_trained(subject):
    same = bill_of_materials(subject, VERSIONS)["components"]
    other = bill_of_materials(subject, VERSIONS | {"numpy": "2.2.0"})["components"]

    assert [each["name"] for each in same] == ["samples", "shards", "numpy", "python", "torch"]
    assert same[-1]["purl"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert [each["name"] for each in other] == ["samples", "shards"]


def test_run_events_are_those_that_the_openlineage_client_would_send(subject):
    from openlineage.client import event_v2
    from openlineage.client.generated.base import EventType
    from openlineage.client.serde import Serde

    for told in run_events(subject, TIMES):
        made = event_v2.RunEvent(
            eventType=EventType[told["eventType"]],
            eventTime=told["eventTime"],
            producer=told["producer"],
            run=event_v2.Run(**told["run"]),
            job=event_v2.Job(**told["job"]),
            inputs=[event_v2.InputDataset(**each) for each in told["inputs"]],
            outputs=[event_v2.OutputDataset(**each) for each in told["outputs"]],
        )
        sent = Serde.to_dict(made)
        for each in (*sent["inputs"], *sent["outputs"]):
            for empty in ("inputFacets", "outputFacets"):
                if not each.get(empty, True):
                    del each[empty]
        assert sent == told


def test_standard_facets_are_those_of_the_client(subject):
    from openlineage.client.facet_v2 import (
        data_quality_assertions_dataset,
        dataset_version_dataset,
        job_type_job,
        schema_dataset,
    )

    events = [each for each in run_events(subject, TIMES) if each["eventType"] == "COMPLETE"]
    ingest, quality = events[0], events[1]
    samples = ingest["outputs"][0]["facets"]
    checked = quality["inputs"][0]["inputFacets"]
    for facet, kind in (
        (ingest["job"]["facets"]["jobType"], job_type_job.JobTypeJobFacet),
        (samples["version"], dataset_version_dataset.DatasetVersionDatasetFacet),
        (samples["schema"], schema_dataset.SchemaDatasetFacet),
        (
            checked["dataQualityAssertions"],
            data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
        ),
    ):
        values = {name: value for name, value in facet.items() if not name.startswith("_")}
        assert kind(**values)._schemaURL == facet["_schemaURL"]


def test_every_stage_starts_and_completes_and_reads_what_earlier_ones_wrote(subject):
    events = run_events(subject, TIMES)

    told = [(each["job"]["name"], each["eventType"]) for each in events]
    stages = ["ingest", "quality", "shuffle", "pretrain", "evaluate", "register", "export"]
    assert told == [(stage, kind) for stage in stages for kind in ("START", "COMPLETE")]
    versions = {
        each["job"]["name"]: [made["facets"]["version"] for made in each["outputs"]]
        for each in events
        if each["eventType"] == "COMPLETE"
    }
    pretrain = next(each for each in events if each["job"]["name"] == "pretrain")
    assert [each["facets"]["version"] for each in pretrain["inputs"]] == versions["shuffle"]
    assert pretrain["run"]["runId"] == run_id(subject.training["pretrain"])


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
def test_croissant_reads_the_samples_by_their_description(world, subject, tmp_path):
    import mlcroissant

    folder = tmp_path / "samples"
    shutil.copytree(world.paths.samples, folder)
    described = describe_samples(subject, TIMES)
    (folder / "croissant.json").write_text(json.dumps(described), encoding="utf-8")

    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")

    assert (set(dataset.metadata.issues.errors), set(dataset.metadata.issues.warnings)) == (
        set(),
        set(),
    )
    rows = list(dataset.records("samples"))
    assert len(rows) == 24
    assert {"samples/row", "samples/s2_reflectance"} < rows[0].keys()


def test_croissant_stands_on_the_standard_context():
    from mlcroissant._src.core.rdf import make_context

    assert make_context().items() <= CONTEXT.items()


def test_the_crate_is_a_process_run_crate(world, subject, tmp_path):
    from rocrate.rocrate import ROCrate

    path = tmp_path / "crate.zip"
    path.write_bytes(write_crate(subject, world.paths, TIMES))

    crate = ROCrate(path)

    root = crate.root_dataset
    assert root["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"
    assert all(root[name] for name in ("name", "description", "datePublished", "license"))
    actions = crate.get_by_type("CreateAction")
    assert len(actions) == len(root["mentions"]) == 7
    for action in actions:
        assert action["instrument"].type == "SoftwareApplication"
        assert action["endTime"] == TIMES[COMMIT]
        # Whatever an action used or made is in the crate.
        for each in (action["object"], action["result"]):
            assert all(one.type == "File" for one in (each if isinstance(each, list) else [each]))


def test_the_crate_holds_receipts_and_manifests_byte_for_byte(world, subject):
    archive = zipfile.ZipFile(io.BytesIO(write_crate(subject, world.paths, TIMES)))

    names = archive.namelist()
    assert names == sorted(names)
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    digest = subject.training["pretrain"]
    stored = archive.read(f"receipts/pretrain-{digest[:12]}.json")
    assert stored == (world.paths.lineage / f"{digest}.json").read_bytes()
    samples = (world.paths.samples / "manifest.json").read_bytes()
    assert archive.read("manifests/samples.json") == samples


def test_the_crate_takes_the_certificate_of_this_very_export(world, subject):
    from tessera_core.records.manifest import write_manifest

    audit = world.paths.audit
    audit.mkdir(parents=True)
    (audit / "certificate.json").write_text("{}", encoding="utf-8")

    def names(export):
        write_manifest(audit, "audit", {"export_receipt": export})
        crate = write_crate(subject, world.paths, TIMES)
        return zipfile.ZipFile(io.BytesIO(crate)).namelist()

    assert "certificate/certificate.json" in names(subject.start)
    assert "certificate/certificate.json" not in names("f" * 64)


def test_the_model_card_gives_decision_uses_limits_and_every_receipt(world):
    subject = find_attested("2", world.paths)

    card = render_model_card(subject)

    assert card.startswith("# tessera version 2\n")
    assert "**simulated** scenes" in card
    assert "decision: **challenger**: reason of 2" in card
    assert "| crop_type | encoder/linear | accuracy | 0.700 | 0.650 to 0.750 |" in card
    for title in ("Intended use", "Not intended for", "Limitations", "Training settings"):
        assert f"\n\n## {title}\n\n" in card
    assert all(digest in card for digest in subject.receipts)
    assert "Tasks without data here: burned." in card


def test_the_datasheet_gives_counts_digests_gate_and_terms(subject):
    sheet = render_datasheet(subject)

    assert "24 d-pixels in 2 tiles and years" in sheet
    assert subject.manifests["samples"].digest in sheet
    assert "Splits by spatial block: train 20, val 4." in sheet
    assert "Quality gate: **passed**, 0 failures of 25 rules." in sheet
    assert "1 files, 7 bytes" in sheet
    assert "simulated by this software" in sheet


def test_real_scenes_stand_under_the_terms_of_their_provider_and_without_a_warning(tmp_path):
    world = World(root=tmp_path)
    world.export(world.version("1", simulated=False))
    subject = find_attested(EXPORT, world.paths)

    assert "Copernicus Sentinel data" in render_datasheet(subject)
    assert "imulated" not in render_datasheet(subject) + render_model_card(subject)
    assert "sentinels.copernicus.eu" in describe_samples(subject, TIMES)["license"]


def test_a_version_that_the_lineage_knows_as_champion_only_has_a_card(subject):
    card = render_model_card(dataclasses.replace(subject, registered=None))

    assert "decision: **champion**: the lineage knows it as champion only" in card
