"""The manifests are valid, and true to the code: ports, probes, settings, the outputs of the template.

Rendering needs kubectl; everything that can be checked without it is checked on the files themselves.
"""

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from clients.console import config as console_config
from deploy.docs import config_class, variables
from deploy.local.provision import TEMPLATE, read_template
from services.cleanup_service.adapters import command
from shared import config, lifecycle
from shared.grpc.auth import check_exposure

_ROOT = Path(__file__).resolve().parents[3]
_K8S = _ROOT / "deploy" / "k8s"
_CONTEXTS = ("node", "graph", "similarity", "cleanup")
_OVERLAYS = ("local", "production")
_COLLECTOR = _ROOT / "deploy" / "collector"
# Kinds of operators, whose schemas the validator doesn't know.
_FOREIGN = {"PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"}
_CLUSTER_WIDE = {"Namespace", "PriorityClass"}
# Files that hold no resources: generators read them.
_CONFIGS = {"kustomization.yaml", "config.yaml", "aws.yaml", "services.yaml", "operator.yaml"}
# Read by the AWS SDK itself.
_SDK = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def resource_files() -> list[Path]:
    found = [*_K8S.rglob("*.yaml"), *_COLLECTOR.rglob("*.yaml")]
    return [path for path in sorted(found) if path.name not in _CONFIGS]


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


_SECURITY = _K8S / "components" / "security"


def environment(overlay: str, context: str) -> dict[str, str]:
    """What a container finds: the files that its two ConfigMaps come from, and the Secret."""
    found = env_file(_SECURITY / "security.env") if overlay == "production" else {}
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


def rendered(overlay: str, folder: Path = _K8S) -> list[dict[str, Any]]:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the overlays cannot be rendered (the files are checked all the same)")
    command = ["kubectl", "kustomize", str(folder / "overlays" / overlay)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert answer.returncode == 0, answer.stderr
    return [document for document in yaml.safe_load_all(answer.stdout) if document]


def template() -> dict[str, Any]:
    return read_template(TEMPLATE.read_text())


def validate(document: dict[str, Any]) -> None:
    if document["kind"] not in _FOREIGN:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", resource_files(), ids=lambda path: str(path.relative_to(_ROOT / "deploy")))
def test_each_file_holds_valid_resources(path: Path) -> None:
    found = documents(path)
    assert found
    for document in found:
        validate(document)


def test_a_field_that_does_not_exist_would_be_noticed() -> None:
    wrong = of_kind("node", "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_an_overlay_renders_to_valid_resources(overlay: str) -> None:
    found = rendered(overlay)
    for document in found:
        validate(document)
        assert document["kind"] in _CLUSTER_WIDE or document["metadata"]["namespace"] == "brain2"
    names = {document["metadata"]["name"] for document in found if document["kind"] == "Deployment"}
    assert {f"brain2-{context}" for context in _CONTEXTS} <= names


def test_several_workers_of_a_pod_ask_for_a_core_and_the_memory_of_a_process_each(tmp_path: Path) -> None:
    shutil.copytree(_K8S, tmp_path / "k8s")
    shutil.copytree(_COLLECTOR, tmp_path / "collector")
    overlay = tmp_path / "k8s" / "overlays" / "production" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("components:\n", "components:\n  - ../../components/workers\n"))
    for document in rendered("production", tmp_path / "k8s"):
        validate(document)
        name = document["metadata"]["name"].removeprefix("brain2-")
        if document["kind"] == "Deployment" and name in ("node", "graph"):
            [found] = document["spec"]["template"]["spec"]["containers"]
            assert {"name": "BRAIN2_WORKERS", "value": "2"} in found["env"]
            one = container(name)["resources"]
            assert found["resources"]["requests"]["cpu"] == "2"
            for part in ("requests", "limits"):
                assert bytes_of(found["resources"][part]["memory"]) == 2 * bytes_of(one[part]["memory"])


# A limit is at least this many times what the worst load and full caches were measured to take.
MEMORY_MARGIN = 1.15


@pytest.mark.parametrize("context", _CONTEXTS)
def test_the_limit_on_memory_holds_what_was_measured_and_a_margin(context: str) -> None:
    measured = json.loads((_ROOT / "docs" / "bench" / "memory.json").read_text(encoding="utf-8"))["services"][context]
    resources = container(context)["resources"]
    limit, request = (bytes_of(resources[part]["memory"]) // 2**20 for part in ("limits", "requests"))
    assert limit == measured["limit_mib"], "measured with another limit: make bench-memory, then make docs"
    assert limit >= MEMORY_MARGIN * measured["bound_mib"]
    assert measured["bound_mib"] >= measured["peak_mib"] >= measured["idle_mib"]
    assert measured["idle_mib"] <= request <= limit
    # The caches alone must fit beside the requests in flight, whose bytes are a quarter of the limit.
    settings = config.load(config_class(context), environment("production", context))
    caches = getattr(settings, "memory_cache_bytes", 0) + getattr(settings, "index_megabytes", 0) * 2**20
    assert caches <= (limit - measured["idle_mib"]) * 2**20 * 3 // 4


def bytes_of(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


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
    assert opened(of_kind("cleanup", "NetworkPolicy"), pod["metadata"]["labels"], {"brain2": "own"}, port["port"])
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
    pods = [document["spec"]["template"]["spec"] for document in found if document["kind"] == "Deployment"]
    used = {
        source["configMapRef"]["name"]
        for pod in pods
        for each in pod["containers"]
        for source in each.get("envFrom", [])
    }
    used |= {volume["configMap"]["name"] for pod in pods for volume in pod.get("volumes", []) if "configMap" in volume}
    assert used == maps


def test_production_is_scaled_by_its_autoscalers_alone() -> None:
    found = rendered("production")
    services = {f"brain2-{context}" for context in _CONTEXTS}
    deployments = {d["metadata"]["name"]: d for d in found if d["kind"] == "Deployment"}
    # KEDA makes an autoscaler of its own from a ScaledObject: two for one Deployment would undo each other.
    kinds = ("HorizontalPodAutoscaler", "ScaledObject")
    scaled = [d["spec"]["scaleTargetRef"]["name"] for d in found if d["kind"] in kinds]
    assert sorted(scaled) == sorted(services)
    assert not [name for name in services if "replicas" in deployments[name]["spec"]]


def test_the_consumers_are_scaled_by_the_queue_that_they_read() -> None:
    scaled = {d["metadata"]["name"]: d["spec"] for d in rendered("production") if d["kind"] == "ScaledObject"}
    assert scaled.keys() == {"brain2-similarity", "brain2-cleanup"}
    for context in ("similarity", "cleanup"):
        [queue] = [each for each in scaled[f"brain2-{context}"]["triggers"] if each["type"] == "aws-sqs-queue"]
        settings = environment("production", context)
        assert queue["metadata"]["queueURL"] == settings["BRAIN2_QUEUE_URL"]
        assert queue["metadata"]["awsRegion"] == settings["AWS_REGION"]


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_the_services_send_their_telemetry_to_the_collector_and_say_who_they_are(overlay: str) -> None:
    found = rendered(overlay)
    [service] = [d for d in found if d["kind"] == "Service" and d["metadata"]["name"] == "brain2-collector"]
    for context in _CONTEXTS:
        host, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
        assert environment(overlay, context)["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{host}:{port}"
        [pod] = [
            d["spec"]["template"]
            for d in found
            if d["kind"] == "Deployment" and d["metadata"]["name"] == f"brain2-{context}"
        ]
        names = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
        attributes = dict(pair.split("=") for pair in names["OTEL_RESOURCE_ATTRIBUTES"]["value"].split(","))
        assert attributes.keys() == {"service.version", "deployment.environment.name", "k8s.pod.name"}
        # Kubernetes puts in what was defined before in the same list.
        order = list(names)
        for value in attributes.values():
            variable = value.removeprefix("$(").removesuffix(")")
            assert order.index(variable) < order.index("OTEL_RESOURCE_ATTRIBUTES")
        assert pod["metadata"]["labels"]["brain2/environment"] == overlay
        assert pod["metadata"]["labels"]["app.kubernetes.io/version"] != "unknown"


@pytest.mark.parametrize("overlay", _OVERLAYS)
@pytest.mark.parametrize("context", _CONTEXTS)
def test_a_service_starts_where_others_can_reach_it_with_authentication_or_by_choice(
    overlay: str, context: str
) -> None:
    loaded = config.load(config_class(context), environment(overlay, context))
    check_exposure(loaded, loaded.listen)
    assert loaded.insecure is (overlay == "local")


@pytest.mark.parametrize("context", _CONTEXTS)
def test_the_files_of_the_settings_are_mounted_from_secrets(context: str) -> None:
    found = rendered("production")
    [pod] = [d["spec"]["template"]["spec"] for d in found if is_deployment(d, f"brain2-{context}")]
    [service] = pod["containers"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    mounts = {mount["mountPath"]: mount for mount in service["volumeMounts"]}
    assert all(mount["readOnly"] for mount in mounts.values())
    files = {value for value in environment("production", context).values() if value.startswith("/etc/brain2/")}
    folders = {path.rpartition("/")[0] for path in files}
    assert folders == set(mounts)
    assert secrets[mounts["/etc/brain2/token"]["name"]] == f"brain2-token-{context}"
    # The kubelet has no certificate: its probes go to a port that serves health alone.
    health = int(environment("production", context)["BRAIN2_HEALTH_LISTEN"].rpartition(":")[2])
    assert {service[probe]["grpc"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {health}
    assert {"name": "health", "containerPort": health} in service["ports"]


def is_deployment(document: dict[str, Any], name: str) -> bool:
    return bool(document["kind"] == "Deployment" and document["metadata"]["name"] == name)


def test_the_nightly_job_has_a_token_of_its_own_and_checks_whom_it_calls() -> None:
    [job] = [document for document in rendered("production") if document["kind"] == "CronJob"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert env == {"BRAIN2_TOKEN_FILE": "/etc/brain2/token/token", "BRAIN2_TLS_CA": "/etc/brain2/tls/ca.crt"}
    assert {volume["secret"]["secretName"] for volume in pod["volumes"]} == {"brain2-token-operator", "brain2-tls"}


def collector_config(*names: str) -> dict[str, Any]:
    """The files merged as the collector does it: maps are joined, anything else is replaced."""

    def merged(old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}

    found: dict[str, Any] = {}
    for name in names:
        [path] = [*_COLLECTOR.glob(name), *_K8S.rglob(name)]
        found = merged(found, yaml.safe_load(path.read_text()))
    return found


@pytest.mark.parametrize("files", [("config.yaml",), ("config.yaml", "aws.yaml")], ids=["everywhere", "production"])
def test_the_collectors_pipelines_have_all_their_parts_and_use_all(files: tuple[str, ...]) -> None:
    found = collector_config(*files)
    used: dict[str, set[str]] = {kind: set() for kind in ("receivers", "processors", "exporters")}
    for pipeline in found["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            used[kind] |= set(names)
        # Memory is bounded before anything else is done.
        assert pipeline["processors"][0] == "memory_limiter"
    assert all(used[kind] <= found[kind].keys() for kind in used)
    assert used["receivers"] == found["receivers"].keys()
    policies = {policy["name"]: policy for policy in found["processors"]["tail_sampling"]["policies"]}
    assert policies["errors"]["status_code"]["status_codes"] == ["ERROR"]
    assert policies["slow"]["latency"]["threshold_ms"] == 1000


def test_the_collector_sends_to_cloudwatch_what_the_alarms_watch() -> None:
    exporter = collector_config("config.yaml", "aws.yaml")["exporters"]["awsemf"]
    sent = {
        (exporter["namespace"], selector.strip("^$").replace("\\", ""), tuple(dimensions))
        for declaration in exporter["metric_declarations"]
        for selector in declaration["metric_name_selectors"]
        for dimensions in declaration["dimensions"]
    }
    alarms = read_template((TEMPLATE.parent / "alarms.yaml").read_text())["Resources"].values()
    watched = set()
    for alarm in alarms:
        properties = alarm["Properties"]
        single = [properties] if "MetricName" in properties else []
        for metric in [
            *single,
            *(each["MetricStat"]["Metric"] for each in properties.get("Metrics", []) if "MetricStat" in each),
        ]:
            if not metric["Namespace"].startswith("AWS/"):
                names = tuple(dimension["Name"] for dimension in metric["Dimensions"])
                watched.add((metric["Namespace"], metric["MetricName"], names))
    assert sent == watched
    settings = env_file(_K8S / "overlays" / "production" / "collector.env")
    assert settings["BRAIN2_STACK"] == template()["Parameters"]["Prefix"]["Default"]
    group = template()["Resources"]["MetricsLog"]["Properties"]["LogGroupName"]
    assert settings["BRAIN2_METRICS_LOG_GROUP"] == group.replace("${Prefix}", settings["BRAIN2_STACK"])


def test_every_pod_is_scraped_at_a_port_that_it_has() -> None:
    [monitor] = documents(_K8S / "components" / "prometheus" / "podmonitor.yaml")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for context in _CONTEXTS:
        labels = of_kind(context, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert labels_match(monitor["spec"]["selector"]["matchLabels"], labels)
        ports = {port["name"]: port["containerPort"] for port in container(context)["ports"]}
        env = {each["name"]: each.get("value") for each in container(context)["env"]}
        assert env["BRAIN2_METRICS_LISTEN"] == f"0.0.0.0:{ports[endpoint['port']]}"


def opened(policy: dict[str, Any], pod: dict[str, str], namespace: dict[str, str], port: int) -> bool:
    """Whether an ingress policy lets this pod, in a namespace with these labels, reach the port."""
    for rule in policy["spec"]["ingress"]:
        if port not in [each["port"] for each in rule["ports"]]:
            continue
        for source in rule["from"]:
            if "namespaceSelector" in source:
                if labels_match(source["namespaceSelector"]["matchLabels"], namespace):
                    return True
            elif "brain2" in namespace and labels_match(source["podSelector"]["matchLabels"], pod):
                return True
    return False


# Who asks: the labels of the pod and of its namespace ("brain2" stands for the services' own).
_SERVICE = ({"brain2/role": "service"}, {"brain2": "own"})
_JOB = ({"brain2/role": "operator"}, {"brain2": "own"})
_CALLER = ({"app": "web"}, {"brain2/client": "true"})
_OPERATOR = ({"app": "shell"}, {"brain2/operator": "true"})
_PROMETHEUS = ({"app": "prometheus"}, {"brain2/monitoring": "true"})
_STRANGER: tuple[dict[str, str], dict[str, str]] = ({"brain2/role": "service"}, {})


@pytest.mark.parametrize("context", _CONTEXTS)
def test_callers_services_and_operators_reach_what_is_theirs(context: str) -> None:
    policy = of_kind(context, "NetworkPolicy")
    everybody = {"service": _SERVICE, "job": _JOB, "caller": _CALLER, "operator": _OPERATOR, "stranger": _STRANGER}
    may = {name for name, (pod, namespace) in everybody.items() if opened(policy, pod, namespace, 50051)}
    # Cleanup erases users: neither callers nor the other services get there.
    assert may == ({"job", "operator"} if context == "cleanup" else {"service", "caller", "operator"})
    assert opened(policy, *_PROMETHEUS, 9464)
    assert not opened(policy, *_PROMETHEUS, 50051)
    assert not opened(policy, *_CALLER, 9464)


def test_nothing_is_open_that_no_policy_opens() -> None:
    [default] = [d for d in documents(_K8S / "base" / "network.yaml") if d["metadata"]["name"] == "brain2-default"]
    assert default["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    egress = {
        port["port"]
        for document in documents(_K8S / "base" / "network.yaml")
        for rule in document["spec"].get("egress", [])
        for port in rule.get("ports", [])
    }
    # Names, peers, the collector, AWS, the cache, the agent that gives a pod its role.
    assert egress == {53, 50051, 4317, 443, 6379, 80}


@pytest.mark.parametrize("context", _CONTEXTS)
def test_pods_are_spread_over_zones_and_ask_for_a_core_a_process(context: str) -> None:
    deployment = of_kind(context, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    [zones] = [
        each for each in pod["topologySpreadConstraints"] if each["topologyKey"] == "topology.kubernetes.io/zone"
    ]
    assert (zones["maxSkew"], zones["whenUnsatisfiable"]) == (1, "DoNotSchedule")
    assert deployment["minReadySeconds"] >= 10
    assert container(context)["resources"]["requests"]["cpu"] == "1"
    assert "cpu" not in container(context)["resources"]["limits"]
    classes = {each["metadata"]["name"]: each["value"] for each in documents(_K8S / "base" / "priorities.yaml")}
    waited_for = context != "cleanup"
    assert (classes[pod["priorityClassName"]] == max(classes.values())) is waited_for


@pytest.mark.parametrize("overlay", _OVERLAYS)
@pytest.mark.parametrize("context", _CONTEXTS)
def test_a_service_starts_with_the_settings_of_its_manifest(overlay: str, context: str) -> None:
    loaded = config.load(config_class(context), environment(overlay, context))
    assert loaded.listen == "0.0.0.0:50051"


@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_every_setting_in_the_files_is_one_that_the_code_reads(overlay: str) -> None:
    known = {context: set(variables(config_class(context))) for context in _CONTEXTS}
    shared = env_file(_K8S / "base" / "settings.env") | env_file(_K8S / "overlays" / overlay / "settings.env")
    shared |= env_file(_SECURITY / "security.env")
    assert not shared.keys() - set().union(*known.values()) - _SDK
    for context in _CONTEXTS:
        assert not env_file(_K8S / "overlays" / overlay / f"{context}.env").keys() - known[context]


@pytest.mark.parametrize("context", _CONTEXTS)
def test_ports_agree_with_the_image_and_the_peers(context: str) -> None:
    dockerfile = (_ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    listening = int(environment("production", context)["BRAIN2_LISTEN"].rpartition(":")[2])
    assert f"EXPOSE {listening}\n" in dockerfile
    assert f"BRAIN2_LISTEN=0.0.0.0:{listening}\n" in dockerfile
    [port] = [each for each in container(context)["ports"] if each["name"] == "grpc"]
    assert port["containerPort"] == listening
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(context)[probe]["grpc"]["port"] == listening
    [service_port] = of_kind(context, "Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    host = of_kind(context, "Service")["metadata"]["name"]
    # Nobody calls cleanup but people.
    target = environment("production", context).get(f"BRAIN2_{context.upper()}_TARGET")
    assert target == (None if context == "cleanup" else f"dns:///{host}:{service_port['port']}")
    ports = {each["containerPort"] for each in container(context)["ports"]}
    opened_ports = {
        each["port"] for rule in of_kind(context, "NetworkPolicy")["spec"]["ingress"] for each in rule["ports"]
    }
    assert opened_ports == ports


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


def test_the_console_is_rendered_into_production_and_finds_what_it_needs(tmp_path: Path) -> None:
    for folder in ("k8s", "collector"):
        shutil.copytree(_ROOT / "deploy" / folder, tmp_path / folder)
    overlay = tmp_path / "k8s" / "overlays" / "production"
    # As the overlay states: the line for the console is there, and not in use.
    kustomization = (overlay / "kustomization.yaml").read_text()
    assert kustomization.count("  # - ../../components/console\n") == 1
    (overlay / "kustomization.yaml").write_text(kustomization.replace("# - ../../comp", "- ../../comp"))
    found = rendered("production", tmp_path / "k8s")
    for document in found:
        validate(document)
    [deployment] = [d for d in found if is_deployment(d, "brain2-console")]
    pod = deployment["spec"]["template"]
    [console] = pod["spec"]["containers"]
    maps = {d["metadata"]["name"]: d.get("data", {}) for d in found if d["kind"] == "ConfigMap"}
    [source] = console["envFrom"]
    env = maps[source["configMapRef"]["name"]]
    image = (_ROOT / "deploy" / "docker" / "console.Dockerfile").read_text()
    # As it starts: on every address, and therefore with a certificate.
    listen = re.findall(r"BRAIN2_CONSOLE_LISTEN=(\S+)", image)[0]
    loaded = console_config.load([], {**env, "BRAIN2_CONSOLE_LISTEN": listen})
    [port] = console["ports"]
    assert loaded.port == port["containerPort"]
    assert f"EXPOSE {loaded.port}\n" in image
    [service] = [d for d in found if d["kind"] == "Service" and d["metadata"]["name"] == "brain2-console"]
    assert f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}" in loaded.known_hosts
    assert labels_match(service["spec"]["selector"], pod["metadata"]["labels"])
    assert loaded.targets == {context: f"dns:///brain2-{context}:50051" for context in ("node", "graph", "similarity")}
    [mounted] = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
    assert mounted["secretName"] == "brain2-console-tls"
    mounts = {mount["mountPath"] for mount in console["volumeMounts"]}
    assert {str(path.parent) for path in (loaded.certificate, loaded.key, loaded.ca) if path} < mounts
    assert re.fullmatch(r".+@sha256:[0-9a-f]{64}", console["image"])
    assert pod["metadata"]["labels"]["brain2/environment"] == "production"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert console[probe]["httpGet"] == {"path": "/healthz", "port": port["name"], "scheme": "HTTPS"}
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert console["securityContext"] == container("node")["securityContext"]
    # Callers reach it, and it reaches the services: all but cleanup, which is for operators.
    policies = {d["metadata"]["name"]: d for d in found if d["kind"] == "NetworkPolicy"}
    asking = (pod["metadata"]["labels"], {"brain2": "own"})
    assert opened(policies["brain2-console"], *_CALLER, loaded.port)
    assert not opened(policies["brain2-console"], *_STRANGER, loaded.port)
    reached = {context for context in _CONTEXTS if opened(policies[f"brain2-{context}"], *asking, 50051)}
    assert reached == loaded.targets.keys()
    [egress] = policies["brain2-console"]["spec"]["egress"]
    assert egress["ports"] == [{"port": 50051}]


def named_outputs() -> Iterator[tuple[str, str]]:
    for context in _CONTEXTS:
        yield context, of_kind(context, "ServiceAccount")["metadata"]["annotations"]["brain2/role-output"]
    for path in sorted((_K8S / "overlays" / "production").glob("*.env")):
        [comment] = re.findall(r"# Outputs of deploy/aws/brain2.yaml: (.+)\.", path.read_text())
        yield from ((path.name, output) for output in comment.split(", "))
    for path in (_COLLECTOR / "collector.yaml", _K8S / "components" / "keda" / "scaling.yaml"):
        for document in documents(path):
            if output := document["metadata"].get("annotations", {}).get("brain2/role-output"):
                yield path.name, output


def test_the_outputs_that_the_manifests_name_are_in_the_template() -> None:
    named = list(named_outputs())
    assert len(named) == 4 + 2 + 2 + 2 + 3 + 1 + 2
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
