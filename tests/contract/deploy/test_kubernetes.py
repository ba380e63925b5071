"""The manifests are valid, and true to the code: ports, probes, settings, the outputs of the template.

Rendering needs kubectl; everything that can be checked without it is checked on the files themselves.
"""

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.docs import config_class, variables
from deploy.local.provision import TEMPLATE, read_template
from services.cleanup_service.adapters import command
from shared import config, lifecycle

_ROOT = Path(__file__).resolve().parents[3]
_K8S = _ROOT / "deploy" / "k8s"
_CONTEXTS = ("node", "graph", "similarity", "cleanup")
_OVERLAYS = ("local", "production")
# Read by the AWS SDK itself.
_SDK = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def resource_files() -> list[Path]:
    return [path for path in sorted(_K8S.rglob("*.yaml")) if path.name != "kustomization.yaml"]


def of_kind(context: str, kind: str) -> dict[str, Any]:
    [found] = [document for document in documents(_K8S / "base" / f"{context}.yaml") if document["kind"] == kind]
    return found


def container(context: str) -> dict[str, Any]:
    [found] = of_kind(context, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def env_file(path: Path) -> dict[str, str]:
    """As kustomize reads it: NAME=value lines; none when there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def environment(overlay: str, context: str) -> dict[str, str]:
    """What a container finds: the files that its two ConfigMaps come from, and the Secret."""
    found: dict[str, str] = {}
    for name in ("settings", context):
        found |= env_file(_K8S / "base" / f"{name}.env") | env_file(_K8S / "overlays" / overlay / f"{name}.env")
    return {**found, "REDIS_URL": "redis://brain2-stores:6379/0"}


def service_name(context: str) -> str:
    module = importlib.import_module(f"protos.{context}.v1.{context}_pb2")
    [service] = module.DESCRIPTOR.services_by_name.values()
    assert isinstance(service.full_name, str)
    return service.full_name


def labels_match(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def rendered(overlay: str) -> list[dict[str, Any]]:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the overlays cannot be rendered (the files are checked all the same)")
    command = ["kubectl", "kustomize", str(_K8S / "overlays" / overlay)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return [document for document in yaml.safe_load_all(answer.stdout) if document]


def template() -> dict[str, Any]:
    return read_template(TEMPLATE.read_text())


@pytest.mark.parametrize("path", resource_files(), ids=lambda path: str(path.relative_to(_K8S)))
def test_each_file_holds_valid_resources(path: Path) -> None:
    found = documents(path)
    assert found
    for document in found:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_field_that_does_not_exist_would_be_noticed() -> None:
    wrong = of_kind("node", "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_an_overlay_renders_to_valid_resources(overlay: str) -> None:
    found = rendered(overlay)
    for document in found:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "brain2"
    names = {document["metadata"]["name"] for document in found if document["kind"] == "Deployment"}
    assert {f"brain2-{context}" for context in _CONTEXTS} <= names


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_every_rendered_image_says_which_version(overlay: str) -> None:
    for document in rendered(overlay):
        if document["kind"] == "Deployment":
            for each in document["spec"]["template"]["spec"]["containers"]:
                wanted = r".+@sha256:[0-9a-f]{64}" if overlay == "production" else r".+:(?!latest$)[\w.]+"
                assert re.fullmatch(wanted, each["image"]), each["image"]


def test_the_nightly_job_asks_the_cleanup_service() -> None:
    [job] = documents(_K8S / "base" / "reconcile.yaml")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]
    [asking] = pod["spec"]["containers"]
    [port] = of_kind("cleanup", "Service")["spec"]["ports"]
    # In the image `python /app` is the service's __main__.
    assert asking["args"][0] == "reconcile"
    options = command.options(asking["args"][1:])
    assert options.all_queued
    assert not options.dry_run
    assert options.target == f"dns:///{of_kind('cleanup', 'Service')['metadata']['name']}:{port['port']}"
    [rule] = of_kind("cleanup", "NetworkPolicy")["spec"]["ingress"]
    assert any(
        labels_match(source.get("podSelector", {}).get("matchLabels", {}), pod["metadata"]["labels"])
        for source in rule["from"]
    )
    # No service's selector takes its pods for its own.
    for context in _CONTEXTS:
        assert not labels_match(of_kind(context, "Service")["spec"]["selector"], pod["metadata"]["labels"])
    assert asking["image"] == container("cleanup")["image"]
    assert asking["securityContext"] == container("cleanup")["securityContext"]
    assert (
        pod["spec"]["securityContext"]
        == of_kind("cleanup", "Deployment")["spec"]["template"]["spec"]["securityContext"]
    )


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_rendered_pods_find_their_maps_and_secrets(overlay: str) -> None:
    found = rendered(overlay)
    maps = {document["metadata"]["name"] for document in found if document["kind"] == "ConfigMap"}
    used = {
        source["configMapRef"]["name"]
        for document in found
        if document["kind"] == "Deployment"
        for each in document["spec"]["template"]["spec"]["containers"]
        for source in each.get("envFrom", [])
    }
    assert used == maps


def test_production_is_scaled_by_its_autoscalers_alone() -> None:
    found = rendered("production")
    deployments = {d["metadata"]["name"]: d for d in found if d["kind"] == "Deployment"}
    scaled = {d["spec"]["scaleTargetRef"]["name"] for d in found if d["kind"] == "HorizontalPodAutoscaler"}
    assert scaled == set(deployments) == {f"brain2-{context}" for context in _CONTEXTS}
    assert not [name for name, deployment in deployments.items() if "replicas" in deployment["spec"]]


@pytest.mark.parametrize("overlay", _OVERLAYS)
@pytest.mark.parametrize("context", _CONTEXTS)
def test_a_service_starts_with_the_settings_of_its_manifest(overlay: str, context: str) -> None:
    loaded = config.load(config_class(context), environment(overlay, context))
    assert loaded.listen == "0.0.0.0:50051"


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_every_setting_in_the_files_is_one_that_the_code_reads(overlay: str) -> None:
    known = {context: set(variables(config_class(context))) for context in _CONTEXTS}
    shared = env_file(_K8S / "base" / "settings.env") | env_file(_K8S / "overlays" / overlay / "settings.env")
    assert not shared.keys() - set().union(*known.values()) - _SDK
    for context in _CONTEXTS:
        assert not env_file(_K8S / "overlays" / overlay / f"{context}.env").keys() - known[context]


@pytest.mark.parametrize("context", _CONTEXTS)
def test_ports_agree_with_the_image_and_the_peers(context: str) -> None:
    dockerfile = (_ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    listening = int(environment("production", context)["BRAIN2_LISTEN"].rpartition(":")[2])
    assert f"EXPOSE {listening}\n" in dockerfile
    assert f"BRAIN2_LISTEN=0.0.0.0:{listening}\n" in dockerfile
    [port] = container(context)["ports"]
    assert port["containerPort"] == listening
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(context)[probe]["grpc"]["port"] == listening
    [service_port] = of_kind(context, "Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    host = of_kind(context, "Service")["metadata"]["name"]
    # Nobody calls cleanup but people.
    target = environment("production", context).get(f"BRAIN2_{context.upper()}_TARGET")
    assert target == (None if context == "cleanup" else f"dns:///{host}:{service_port['port']}")
    [rule] = of_kind(context, "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": listening}]


@pytest.mark.parametrize("context", _CONTEXTS)
def test_probes_ask_for_what_is_served(context: str) -> None:
    assert container(context)["readinessProbe"]["grpc"]["service"] == service_name(context)
    # The process as a whole, not a service: a pod that drains or waits for a store must not be killed for it.
    assert "service" not in container(context)["livenessProbe"]["grpc"]
    assert "service" not in container(context)["startupProbe"]["grpc"]


@pytest.mark.parametrize("context", _CONTEXTS)
def test_a_pod_has_time_to_drain(context: str) -> None:
    drain = config.load(config_class(context), environment("production", context)).drain_seconds
    grace = of_kind(context, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > lifecycle._DRAIN_SECONDS > 2 * drain


@pytest.mark.parametrize("context", _CONTEXTS)
def test_everything_about_a_service_selects_its_pods(context: str) -> None:
    labels = of_kind(context, "Deployment")["spec"]["template"]["metadata"]["labels"]
    deployment = of_kind(context, "Deployment")["spec"]
    assert labels_match(deployment["selector"]["matchLabels"], labels)
    assert labels_match(of_kind(context, "Service")["spec"]["selector"], labels)
    assert labels_match(of_kind(context, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
    assert labels_match(of_kind(context, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)
    for spread in deployment["template"]["spec"]["topologySpreadConstraints"]:
        assert labels_match(spread["labelSelector"]["matchLabels"], labels)
    for other in set(_CONTEXTS) - {context}:
        theirs = of_kind(other, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert not labels_match(deployment["selector"]["matchLabels"], theirs)
    # Headless, so that clients see every pod.
    assert of_kind(context, "Service")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("context", _CONTEXTS)
def test_pods_have_no_more_rights_than_they_need(context: str) -> None:
    pod = of_kind(context, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert f"USER {pod['securityContext']['runAsUser']}:" in (_ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    rights = container(context)["securityContext"]
    assert rights == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def named_outputs() -> Iterator[tuple[str, str]]:
    for context in _CONTEXTS:
        yield context, of_kind(context, "ServiceAccount")["metadata"]["annotations"]["brain2/role-output"]
    for path in sorted((_K8S / "overlays" / "production").glob("*.env")):
        [comment] = re.findall(r"# Outputs of deploy/aws/brain2.yaml: (.+)\.", path.read_text())
        yield from ((path.name, output) for output in comment.split(", "))


def test_the_outputs_that_the_manifests_name_are_in_the_template() -> None:
    named = list(named_outputs())
    assert len(named) == 4 + 2 + 2 + 2 + 3
    assert not [each for each in named if each[1] not in template()["Outputs"]]


@pytest.mark.parametrize("overlay", _OVERLAYS)
@pytest.mark.parametrize("context", ["graph", "similarity", "cleanup"])
def test_queues_are_those_that_the_template_makes(overlay: str, context: str) -> None:
    resources = template()["Resources"]
    prefix = template()["Parameters"]["Prefix"]["Default"]
    found = environment(overlay, context)
    for variable, resource in (("BRAIN2_QUEUE_URL", "Queue"), ("BRAIN2_DLQ_URL", "Dlq")):
        name = resources[f"{context.title()}{resource}"]["Properties"]["QueueName"].replace("${Prefix}", prefix)
        assert found[variable].rpartition("/")[2] == name
    assert found["BRAIN2_TABLE"] == resources["Table"]["Properties"]["TableName"].replace("${Prefix}", prefix)
