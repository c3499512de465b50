"""The manifests agree with the command line, the settings, the variables and themselves."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from flows.cli.main import build_parser
from tessera_core import __main__ as core
from tessera_core.config import PlatformConfig

MANIFESTS = ("pretrain-job.yaml", "pretrain-multi-node.yaml")
REPO = Path(__file__).resolve().parent.parent.parent
PARAMS = yaml.safe_load((REPO / "params.yaml").read_text(encoding="utf-8"))

needs_ranks = pytest.mark.xfail(
    "num_ranks" not in PARAMS["pretrain"], reason="training knows no ranks yet", strict=True
)


def documents(name: str) -> list[dict[str, Any]]:
    text = (REPO / "infra" / "kubernetes" / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def of_kind(name: str, kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents(name) if document["kind"] == kind)
    return found


def pod_of(name: str) -> dict[str, Any]:
    return of_kind(name, "Job")["spec"]["template"]["spec"]


def container_of(name: str) -> dict[str, Any]:
    (container,) = pod_of(name)["containers"]
    return container


def torchrun_of(name: str) -> Any:
    program, *arguments = container_of(name)["command"]
    assert program == "torchrun"
    return get_args_parser().parse_args(arguments)


def test_every_manifest_is_looked_at(repo: Path) -> None:
    assert {path.name for path in (repo / "infra" / "kubernetes").iterdir()} == set(MANIFESTS)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("pretrain-job.yaml", {"ConfigMap": "v1", "Job": "batch/v1"}),
        ("pretrain-multi-node.yaml", {"Service": "v1", "Job": "batch/v1"}),
    ],
)
def test_kinds_and_versions_are_those_of_kubernetes(name: str, kinds: dict[str, str]) -> None:
    assert {each["kind"]: each["apiVersion"] for each in documents(name)} == kinds
    assert all(each["metadata"]["name"] for each in documents(name))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_killed_pod_is_replaced_and_finds_checkout_and_shared_memory(name: str) -> None:
    job, pod = of_kind(name, "Job")["spec"], pod_of(name)

    assert job["backoffLimit"] > 0
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
    mounts = {each["name"]: each["mountPath"] for each in container_of(name)["volumeMounts"]}
    assert mounts == {"checkout": container_of(name)["workingDir"], "shm": "/dev/shm"}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["checkout"]["persistentVolumeClaim"]["claimName"]
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_variable_stands_in_the_example_file_and_has_a_value(name: str, repo: Path) -> None:
    example = (repo / "infra" / "env.example").read_text(encoding="utf-8")
    known = {line.split("=")[0] for line in example.splitlines() if "=" in line}
    maps = {
        each["metadata"]["name"]: each["data"]
        for each in documents(name)
        if each["kind"] == "ConfigMap"
    }

    for variable in container_of(name).get("env", []):
        source = variable["valueFrom"]["configMapKeyRef"]
        assert variable["name"] in known
        assert maps[source["name"]][source["key"]]


@needs_ranks
def test_one_machine_trains_with_a_rank_on_each_gpu() -> None:
    container = container_of("pretrain-job.yaml")
    program, *arguments = container["command"]

    chosen = build_parser().parse_args(arguments)

    config = PlatformConfig.read(REPO / "params.yaml", chosen.overrides)
    assert (program, chosen.name) == ("tessera", "pretrain")
    assert config.pretrain.num_ranks == container["resources"]["limits"]["nvidia.com/gpu"]


def test_the_job_ends_where_our_exit_codes_say_that_trying_again_is_no_use() -> None:
    fail, ignore = of_kind("pretrain-job.yaml", "Job")["spec"]["podFailurePolicy"]["rules"]

    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    assert fail["onExitCodes"]["containerName"] == container_of("pretrain-job.yaml")["name"]
    assert ignore["action"] == "Ignore"


def test_several_machines_meet_at_the_first_pod() -> None:
    name = "pretrain-multi-node.yaml"
    job, service, run = of_kind(name, "Job"), of_kind(name, "Service"), torchrun_of(name)

    host, port = run.rdzv_endpoint.split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod_of(name)["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(run.nnodes)


def test_several_machines_have_a_rank_on_each_gpu_and_the_comment_says_how_many() -> None:
    name = "pretrain-multi-node.yaml"
    run = torchrun_of(name)
    text = (REPO / "infra" / "kubernetes" / name).read_text(encoding="utf-8")

    assert int(run.nproc_per_node) == container_of(name)["resources"]["limits"]["nvidia.com/gpu"]
    assert f"`num_ranks: {int(run.nnodes) * int(run.nproc_per_node)}`" in text


@needs_ranks
def test_what_torchrun_starts_is_a_command_of_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    run = torchrun_of("pretrain-multi-node.yaml")
    stage, *arguments = run.training_script_args
    with pytest.raises(SystemExit):
        core.main(["--help"])
    known = capsys.readouterr().out

    assert (run.module, run.training_script) == (True, core.__package__)
    assert stage in core.STAGES_WITHOUT_REGISTRY
    assert [each for each in arguments if each.startswith("--") and each not in known] == []
