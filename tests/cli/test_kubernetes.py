"""The manifests for Kubernetes: its schemas take them, they fit each other, and they fit the program."""

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
# The oldest release that has all that the manifests use, and the newest whose schemas there are.
RELEASES = ("1.30.0", kubernetes_validate.latest_version())
# Kinds that are not of Kubernetes itself.
FOREIGN = ("Kustomization", "HTTPRoute")


@cache
def documents():
    """Every document of every manifest, with its file's name."""
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
    """The variables of the pod of this name, as Kubernetes makes them."""
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
def test_the_schemas_of_kubernetes_take_every_manifest(release):
    checked = [document for _, document in documents() if document["kind"] not in FOREIGN]
    assert len(checked) > 5
    for document in checked:
        kubernetes_validate.validate(document, release, strict=True)


def test_a_manifest_with_a_member_that_there_is_not_is_found():
    broken = the("PodDisruptionBudget") | {"spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASES[-1], strict=True)


def test_no_manifest_chooses_the_namespace():
    assert all("namespace" not in found.get("metadata", {}) for _, found in documents())
    assert "namespace" not in kustomization()


def test_kustomize_is_told_of_every_manifest_or_says_why_not():
    listed = kustomization()["resources"]
    optional = re.findall(r"^  # - (\S+)$", (FOLDER / "kustomization.yaml").read_text(), re.M)
    there = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert sorted([*listed, *optional]) == sorted(there)
    images = [image["name"] for image in kustomization()["images"]]
    assert images == [container()["image"]]


def test_every_setting_is_one_that_the_program_reads(settings):
    written = "".join(file.read_text() for file in FOLDER.glob("*.yaml"))
    used = set(re.findall(r"GREENROOM_[A-Z_]+", written))
    assert used and used <= settings.keys(), used - settings.keys()
    assert not pod()["enableServiceLinks"]


def test_every_selector_finds_the_pods_it_is_for():
    labels = the("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert the("StatefulSet")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for spread in pod()["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    for name, service in of_kind("Service").items():
        each = {"statefulset.kubernetes.io/pod-name": name}
        assert service["spec"]["selector"] == (each if name in names() else labels)


def test_every_service_leads_to_a_port_that_the_container_has():
    ports = {port["name"]: port for port in container()["ports"]}
    headless = of_kind("Service")[the("StatefulSet")["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None"
    for service in of_kind("Service").values():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] == port["name"] and port["name"] in ports
            assert service is not headless or port["port"] == ports[port["name"]]["containerPort"]


def test_the_ports_are_those_that_the_program_is_told_and_the_image_has():
    ports = {port["name"]: port for port in container()["ports"]}
    variables = environment("greenroom-0")
    assert variables["GREENROOM_LISTEN"] == f"0.0.0.0:{ports['http']['containerPort']}"
    assert variables["GREENROOM_METRICS_LISTEN"] == f"0.0.0.0:{ports['metrics']['containerPort']}"
    assert variables["GREENROOM_MEDIA_ADDR"] == f"0.0.0.0:{ports['media']['containerPort']}"
    # Clients are told the machine's address and the program's own port, so the two must be one.
    assert ports["media"]["hostPort"] == ports["media"]["containerPort"]
    assert ports["media"]["protocol"] == "UDP"
    [exposed] = re.findall(r"^EXPOSE (.*)$", (TOP / "Dockerfile").read_text(), re.M)
    assert exposed.split()[:2] == [str(ports["http"]["containerPort"]), f"{ports['media']['containerPort']}/udp"]


def test_what_clients_are_told_of_a_node_is_a_way_to_it():
    route = the("HTTPRoute")["spec"]
    ways = {rule["matches"][0]["path"]["value"]: rule for rule in route["rules"]}
    services = of_kind("Service")
    for name in names():
        url = urlsplit(environment(name)["GREENROOM_NODE_URL"])
        assert (url.scheme, [url.hostname]) == ("https", route["hostnames"])
        way = ways.pop(url.path)
        [change] = way["filters"]
        assert change["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        assert [backend["name"] for backend in way["backendRefs"]] == [name]
    assert [backend["name"] for backend in ways.pop("/")["backendRefs"]] == ["greenroom"]
    assert not ways
    for rule in route["rules"]:
        for backend in rule["backendRefs"]:
            assert backend["port"] in [port["port"] for port in services[backend["name"]]["spec"]["ports"]]


@pytest.fixture(scope="module")
def server():
    """A server as it is in a pod, on ports of its own."""
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


def test_prometheus_finds_the_figures_where_it_is_told_and_the_gateway_does_not(server):
    told = the("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert told["prometheus.io/port"] in [str(port["containerPort"]) for port in container()["ports"]]
    address = server.given["GREENROOM_METRICS_LISTEN"]
    assert "# TYPE" in requests.get(f"http://{address}{told['prometheus.io/path']}", timeout=30).text
    assert requests.get(server.endpoint + told["prometheus.io/path"], timeout=30).status_code != 200


def test_a_store_that_is_away_is_no_reason_to_start_a_pod_again():
    paths = {probe: container()[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/_greenroom/health", "readinessProbe": "/_greenroom/ready"}


def test_a_pod_is_given_longer_to_stop_than_it_takes():
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = int(environment("greenroom-0")["GREENROOM_SHUTDOWN_SECONDS"])
    assert pod()["terminationGracePeriodSeconds"] > pause + 2 * shutdown


def test_the_container_has_no_rights():
    [user] = re.findall(r"^USER (\d+):(\d+)$", (TOP / "Dockerfile").read_text(), re.M)
    who = pod()["securityContext"]
    assert (str(who["runAsUser"]), str(who["runAsGroup"])) == user and who["runAsNonRoot"]
    assert who["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod()["automountServiceAccountToken"]


def test_a_file_of_targets_is_where_the_setting_says():
    [mount] = container()["volumeMounts"]
    [volume] = pod()["volumes"]
    assert mount["name"] == volume["name"] and mount["readOnly"]
    written = (FOLDER / "settings.yaml").read_text()
    assert f"# GREENROOM_EVENTS_CONFIG: {mount['mountPath']}/events.toml" in written
    assert f"a secret named {volume['secret']['secretName']}" in written and volume["secret"]["optional"]


def test_the_development_keys_are_off():
    assert environment("greenroom-0")["GREENROOM_DEV_CREDENTIALS"] == "off"


def test_at_least_one_pod_stays_while_machines_are_drained():
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] < len(names())
