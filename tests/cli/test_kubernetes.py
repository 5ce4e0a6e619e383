"""The Kubernetes manifests: valid by schema, consistent with each other, and consistent with the program."""

import re
import socket
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import requests
import yaml

from server import MASTER_KEY, Greenroom

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "docs/deploy/kubernetes"
# The oldest release with all features that the manifests use, and the newest with published schemas.
RELEASES = ("1.30.0", kubernetes_validate.latest_version())
# Kinds without a schema in Kubernetes itself.
FOREIGN = ("Kustomization", "HTTPRoute")


@cache
def documents():
    """All documents of all manifests, with their file names."""
    return [
        (file.name, document)
        for file in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]


def of_kind(kind):
    return {found["metadata"]["name"]: found for _, found in documents() if found["kind"] == kind}


def the(kind):
    [found] = of_kind(kind).values()
    return found


def kustomization():
    return yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


def pod():
    return the("StatefulSet")["spec"]["template"]["spec"]


def container():
    [only] = pod()["containers"]
    return only


def names():
    """The names of the pods."""
    stateful = the("StatefulSet")
    return [f"{stateful['metadata']['name']}-{ordinal}" for ordinal in range(stateful["spec"]["replicas"])]


def environment(name):
    """The environment variables of a pod, as resolved by Kubernetes."""
    fields = {"metadata.name": name, "status.hostIP": "192.0.2.7"}
    given = {"database-url": "sqlite::memory:", "master-key": MASTER_KEY}
    made = {}
    for variable in container()["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            secret = of_kind("Secret")[source["secretKeyRef"]["name"]]
            assert secret["stringData"].keys() == given.keys()
            value = given[source["secretKeyRef"]["key"]]
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            value = of_kind("ConfigMap")[reference["name"]]["data"][reference["key"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda reference: made[reference[1]], variable["value"])
        made[variable["name"]] = value
    for source in container()["envFrom"]:
        made = of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"] | made
    return made


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid_by_schema(release):
    checked = [document for _, document in documents() if document["kind"] not in FOREIGN]
    assert len(checked) > 5
    for document in checked:
        kubernetes_validate.validate(document, release, strict=True)


def test_an_unknown_member_in_a_manifest_is_detected():
    broken = the("PodDisruptionBudget") | {"spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASES[-1], strict=True)


def test_no_manifest_sets_the_namespace():
    assert all("namespace" not in found.get("metadata", {}) for _, found in documents())
    assert "namespace" not in kustomization()


def test_the_kustomization_lists_every_manifest():
    listed = kustomization()["resources"]
    optional = re.findall(r"^  # - (\S+)$", (FOLDER / "kustomization.yaml").read_text(), re.M)
    there = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert sorted([*listed, *optional]) == sorted(there)
    images = [image["name"] for image in kustomization()["images"]]
    assert images == [container()["image"]]


def test_every_setting_exists(settings):
    written = "".join(file.read_text() for file in FOLDER.glob("*.yaml"))
    used = set(re.findall(r"GREENROOM_[A-Z_]+", written))
    assert used and used <= settings.keys(), used - settings.keys()
    assert not pod()["enableServiceLinks"]


def test_every_selector_matches_its_pods():
    labels = the("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert the("StatefulSet")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for spread in pod()["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    for name, service in of_kind("Service").items():
        each = {"statefulset.kubernetes.io/pod-name": name}
        assert service["spec"]["selector"] == (each if name in names() else labels)


def test_every_service_targets_a_container_port():
    ports = {port["name"]: port for port in container()["ports"]}
    headless = of_kind("Service")[the("StatefulSet")["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None"
    for service in of_kind("Service").values():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] == port["name"] and port["name"] in ports
            assert service is not headless or port["port"] == ports[port["name"]]["containerPort"]


def test_the_ports_match_the_settings_and_the_image():
    ports = {port["name"]: port for port in container()["ports"]}
    variables = environment("greenroom-0")
    assert variables["GREENROOM_LISTEN"] == f"0.0.0.0:{ports['http']['containerPort']}"
    assert variables["GREENROOM_METRICS_LISTEN"] == f"0.0.0.0:{ports['metrics']['containerPort']}"
    assert variables["GREENROOM_MEDIA_ADDR"] == f"0.0.0.0:{ports['media']['containerPort']}"
    # The program advertises the host's address and its own port, so both ports must be equal.
    assert ports["media"]["hostPort"] == ports["media"]["containerPort"]
    assert ports["media"]["protocol"] == "UDP"
    # Media over TCP use the same number by default.
    for name in ("hostPort", "containerPort"):
        assert ports["media-tcp"][name] == ports["media"][name]
    [exposed] = re.findall(r"^EXPOSE (.*)$", (TOP / "Dockerfile").read_text(), re.M)
    media = ports["media"]["containerPort"]
    assert exposed.split()[:3] == [str(ports["http"]["containerPort"]), f"{media}/udp", str(media)]
    # By default, encoders connect to the second and the third port after the API's.
    encoders = [str(ports["http"]["containerPort"] + offset) for offset in (2, 3)]
    assert exposed.split()[3:5] == encoders == [str(ports[name]["containerPort"]) for name in ("rtmp", "rtmps")]


def test_the_node_urls_are_routed_to_their_pods():
    route = the("HTTPRoute")["spec"]
    rules_by_path = {rule["matches"][0]["path"]["value"]: rule for rule in route["rules"]}
    services = of_kind("Service")
    for name in names():
        url = urlsplit(environment(name)["GREENROOM_NODE_URL"])
        assert (url.scheme, [url.hostname]) == ("https", route["hostnames"])
        matched_rule = rules_by_path.pop(url.path)
        [rewrite] = matched_rule["filters"]
        assert rewrite["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        assert [backend["name"] for backend in matched_rule["backendRefs"]] == [name]
    assert [backend["name"] for backend in rules_by_path.pop("/")["backendRefs"]] == ["greenroom"]
    assert not rules_by_path
    for rule in route["rules"]:
        for backend in rule["backendRefs"]:
            assert backend["port"] in [port["port"] for port in services[backend["name"]]["spec"]["ports"]]


@pytest.fixture(scope="module")
def server():
    """A server with the pod's settings, on free ports."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    given = environment("greenroom-0") | {
        "GREENROOM_LISTEN": "127.0.0.1:0",
        "GREENROOM_MEDIA_ADDR": "127.0.0.1:0",
        "GREENROOM_METRICS_LISTEN": metrics,
    }
    program = Greenroom("serve", **given)
    program.given = given
    yield program.serving()
    program.kill()


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_the_server_answers_its_probes(server, probe):
    asked = container()[probe]["httpGet"]
    assert asked["port"] == "http"
    assert requests.get(server.endpoint + asked["path"], timeout=30).status_code == 200


def test_metrics_are_on_the_annotated_port_and_not_on_the_public_one(server):
    annotations = the("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] in [str(port["containerPort"]) for port in container()["ports"]]
    address = server.given["GREENROOM_METRICS_LISTEN"]
    assert "# TYPE" in requests.get(f"http://{address}{annotations['prometheus.io/path']}", timeout=30).text
    assert requests.get(server.endpoint + annotations["prometheus.io/path"], timeout=30).status_code != 200


def test_an_unavailable_store_does_not_restart_the_pod():
    paths = {probe: container()[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/_greenroom/health", "readinessProbe": "/_greenroom/ready"}


def test_the_grace_period_exceeds_the_shutdown_time():
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = int(environment("greenroom-0")["GREENROOM_SHUTDOWN_SECONDS"])
    assert pod()["terminationGracePeriodSeconds"] > pause + 2 * shutdown


def test_the_container_is_unprivileged():
    [user] = re.findall(r"^USER (\d+):(\d+)$", (TOP / "Dockerfile").read_text(), re.M)
    security_context = pod()["securityContext"]
    assert (str(security_context["runAsUser"]), str(security_context["runAsGroup"])) == user and security_context["runAsNonRoot"]
    assert security_context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod()["automountServiceAccountToken"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("events", {"GREENROOM_EVENTS_CONFIG": "events.toml"}),
        ("rtmps", {"GREENROOM_RTMPS_TLS_CERT": "tls.crt", "GREENROOM_RTMPS_TLS_KEY": "tls.key"}),
    ],
)
def test_the_files_of_an_optional_secret_are_mounted_at_their_paths(name, files):
    [mount] = [mount for mount in container()["volumeMounts"] if mount["name"] == name]
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == name]
    assert mount["readOnly"] and volume["secret"]["optional"]
    written = (FOLDER / "settings.yaml").read_text()
    for setting, file in files.items():
        assert f"# {setting}: {mount['mountPath']}/{file}" in written
    assert f"secret named {volume['secret']['secretName']}" in written


def test_every_volume_is_mounted():
    assert {mount["name"] for mount in container()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


def test_the_load_balancer_of_encoders_serves_the_ports_of_the_public_urls():
    ports = {port["name"]: port["port"] for port in of_kind("Service")["greenroom-rtmp"]["spec"]["ports"]}
    written = (FOLDER / "settings.yaml").read_text()
    # A URL without a port has the default one of RTMP.
    [rtmp] = re.findall(r"# GREENROOM_RTMP_PUBLIC_URL: (\S+)", written)
    [rtmps] = re.findall(r"# GREENROOM_RTMPS_PUBLIC_URL: (\S+)", written)
    assert (urlsplit(rtmp).port or 1935, urlsplit(rtmps).port) == (ports["rtmp"], ports["rtmps"])
    [listen] = re.findall(r"# GREENROOM_RTMPS_LISTEN: (\S+)", written)
    assert listen == f"0.0.0.0:{next(port['containerPort'] for port in container()['ports'] if port['name'] == 'rtmps')}"


def test_the_development_keys_are_off():
    assert environment("greenroom-0")["GREENROOM_DEV_CREDENTIALS"] == "off"


def test_at_least_one_pod_remains_during_a_drain():
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] < len(names())
