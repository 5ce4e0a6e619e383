"""Container image, compose file and CI workflow: settings, commands and files that they name exist."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from server import Greenroom, run
from wire import Wire

TOP = Path(__file__).resolve().parents[2]


def text(name):
    return (TOP / name).read_text()


def compose():
    return yaml.safe_load(text("docker-compose.yml"))


def dockerfile():
    """The instructions of the Dockerfile as (instruction, arguments), with continuation lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text("Dockerfile"))
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def values(word):
    return [rest for instruction, rest in dockerfile() if instruction == word]


@pytest.mark.parametrize("name", ["Dockerfile", "docker-compose.yml"])
def test_every_setting_in_a_container_file_exists(name, settings):
    # GREENROOM_COMMIT is read at build time.
    used = set(re.findall(r"GREENROOM_[A-Z_]+", text(name))) - {"GREENROOM_COMMIT"}
    assert used and used <= settings.keys(), used - settings.keys()


def test_the_image_runs_as_non_root_and_listens_on_all_addresses():
    last_stage = max(i for i, (word, _) in enumerate(dockerfile()) if word == "FROM")
    final = dockerfile()[last_stage:]
    [user] = [rest for word, rest in final if word == "USER"]
    assert user.split(":")[0] not in ("root", "0")
    assert any("GREENROOM_LISTEN=0.0.0.0:4600" in rest for word, rest in final if word == "ENV")
    assert ("VOLUME", '["/data"]') in final
    assert ("EXPOSE", "4600 4601/udp 4601 4602 4603 9464") in final


@pytest.fixture
def image_settings(tmp_path):
    """The image's settings, with a free port and a temporary directory."""
    [line] = values("ENV")
    settings = dict(setting.split("=", 1) for setting in shlex.split(line))
    settings["GREENROOM_LISTEN"] = settings["GREENROOM_LISTEN"].replace(":4600", ":0")
    settings["GREENROOM_DATABASE_URL"] = settings["GREENROOM_DATABASE_URL"].replace("/data/", f"{tmp_path}/")
    return settings


def test_the_image_starts_unconfigured_and_accepts_created_keys_only(image_settings):
    server = Greenroom(**image_settings)
    try:
        endpoint = server.serving().endpoint
        made = run("credentials", "create", "--account", "000000000000", "--output", "json", **image_settings)
        key = json.loads(made.stdout)
        good = Wire(endpoint, key["accessKeyId"], "us-east-1", secret=key["secretAccessKey"])
        assert good.call("ListStages").status == 200
        for name in ("test", "000000000000"):
            assert Wire(endpoint, name, "us-east-1").call("ListStages").fault == "UnrecognizedClientException"
    finally:
        server.kill()


def test_development_keys_are_off_in_containers():
    assert "GREENROOM_DEV_CREDENTIALS=off" in values("ENV")[0]
    assert "DEV_CREDENTIALS" not in text("docker-compose.yml")


@pytest.mark.parametrize("name", ["docs/test/containers.md", "docker-compose.yml"])
def test_every_command_in_a_container_works(name, tmp_path):
    joined = re.sub(r"\\\n\s*", " ", text(name))
    commands = re.findall(r"docker (?:compose )?exec .*?greenroom (credentials create [^>#\n]*)", joined)
    assert commands
    for command in commands:
        made = run(*command.split(), GREENROOM_DATABASE_URL=f"sqlite://{tmp_path}/greenroom.db")
        assert made.returncode == 0, made.stderr


def yaml_blocks():
    pages = "".join(text(name) for name in ("docs/test/ci.md", "docs/test/containers.md"))
    return re.findall(r"^```yaml\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL)


def documents():
    """The YAML examples that are whole files, not only steps of one."""
    return [document for block in yaml_blocks() if isinstance(document := yaml.safe_load(block), dict)]


def examples():
    """The documented containers with an access key: the environments of greenroom and of its clients."""
    for document in documents():
        job = document.get("jobs", document).get("test", {})
        services = document.get("services") or job.get("services") or {}
        if isinstance(services, list):  # GitLab
            [server] = services
            yield server["variables"], job["variables"]
        elif "greenroom" in services:
            server = services["greenroom"]
            for user in [job] if job else [services["app"], services["tests"]]:
                yield server.get("env") or server["environment"], user.get("env") or user["environment"]


def test_all_examples_configure_a_key():
    assert len(list(examples())) == 4


@pytest.mark.parametrize(("server", "user"), list(examples()))
def test_the_key_of_an_example_works(server, user, image_settings):
    program = Greenroom(**{**image_settings, **server})
    try:
        key, secret = (user.get(f"AWS_{name}") or user[f"GREENROOM_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        wire = Wire(program.serving().endpoint, key, "us-east-1", secret=secret)
        assert wire.call("ListStages").status == 200
        assert wire.send("GET", "/_greenroom/test/clock").status == 200
        assert Wire(program.endpoint, key, "us-east-1", secret="x" * 40).send("GET", "/_greenroom/test/clock").status == 403
    finally:
        program.kill()


def test_the_action_is_used_with_inputs_and_outputs_that_it_has():
    action = yaml.safe_load(text("action.yml"))
    blocks = yaml_blocks()
    steps = [step for block in blocks for step in steps_of(yaml.safe_load(block)) if "/greenroom@" in step.get("uses", "")]
    assert len(steps) == 2
    for step in steps:
        assert step.get("with", {}).keys() <= action["inputs"].keys()
    used = re.findall(r"steps\.greenroom\.outputs\.(\w+)", "".join(blocks))
    assert used and set(used) <= action["outputs"].keys()


def steps_of(document):
    if isinstance(document, list):
        return document
    return [step for job in document.get("jobs", {}).values() for step in job["steps"]]


def test_containers_publish_the_api_port_and_the_media_port():
    pages = "".join(text(name) for name in ("docs/start/install.md", "docs/test/containers.md"))
    commands = re.findall(r"^docker run .*$", pages.replace("\\\n", " "), re.MULTILINE)
    assert commands
    for command in commands:
        ports = re.findall(r"-p \S*?(\d+(?:/udp)?)(?= )", command)
        assert ports == ["4600", "4601/udp"], command
        assert "GREENROOM_MEDIA_PUBLIC_IP=" in command
    assert compose()["services"]["greenroom"]["ports"] == ["4600:4600", "4601:4601/udp", "4601:4601", "4602:4602"]
    published = []
    for document in documents():
        jobs = document.get("jobs", {}).values()
        published += [job["services"]["greenroom"]["ports"] for job in jobs if "services" in job]
    assert len(published) == 1
    assert all(ports == ["4600:4600", "4601:4601/udp"] for ports in published)


def copied():
    """The paths that the image build copies from the repository."""
    return [path for rest in values("COPY") if not rest.startswith("--from") for path in rest.split()[:-1]]


def test_the_build_context_has_exactly_the_copied_paths():
    excluded, *allowed = text(".dockerignore").split()
    assert excluded == "*"
    assert sorted(allowed) == sorted(f"!{path}" for path in copied())


def test_the_build_context_is_complete_for_cargo(tmp_path):
    for path in copied():
        copy = shutil.copytree if (TOP / path).is_dir() else shutil.copy
        (tmp_path / path).parent.mkdir(exist_ok=True)
        copy(TOP / path, tmp_path / path)
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    metadata = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert metadata.returncode == 0, metadata.stderr
    included = [
        source.parent / name
        for source in tmp_path.glob("src/**/*.rs")
        if source.name != "tests.rs"  # which only tests compile
        for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text())
    ]
    assert included
    assert [path for path in included if not path.exists()] == []


def test_the_image_has_a_health_check():
    [check] = values("HEALTHCHECK")
    assert check.endswith('CMD ["greenroom", "health"]')
    assert compose()["services"]["greenroom"]["healthcheck"]["test"] == ["CMD", "greenroom", "health"]


def test_the_health_command_succeeds_only_while_a_server_runs(tmp_path):
    listening = Greenroom("--database-url", f"sqlite://{tmp_path}/greenroom.db")
    try:
        address = listening.serving().endpoint.removeprefix("http://")
        assert run("health", GREENROOM_LISTEN=address).returncode == 0
    finally:
        listening.kill()
    assert run("health", GREENROOM_LISTEN=address).returncode == 1


def test_compose_waits_for_postgres_and_persists_its_data():
    services = compose()["services"]
    assert services["greenroom"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["postgres"]["image"] == "postgres:16"
    assert "pg_isready" in " ".join(services["postgres"]["healthcheck"]["test"])
    [volume] = services["postgres"]["volumes"]
    assert volume.split(":")[0] in compose()["volumes"]


def test_compose_requires_a_master_key_and_explains_how_to_generate_one():
    key = compose()["services"]["greenroom"]["environment"]["GREENROOM_MASTER_KEY"]
    refusal = re.fullmatch(r"\$\{GREENROOM_MASTER_KEY:\?(.+)\}", key)
    assert refusal and "openssl rand -base64 32" in refusal.group(1)


def test_the_database_url_in_compose_matches_its_postgres():
    services = compose()["services"]
    made = services["postgres"]["environment"]
    url = services["greenroom"]["environment"]["GREENROOM_DATABASE_URL"]
    user, password, database = made["POSTGRES_USER"], made["POSTGRES_PASSWORD"], made["POSTGRES_DB"]
    assert url == f"postgres://{user}:{password}@postgres:5432/{database}"


def test_the_workflow_runs_the_ci_script():
    jobs = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    commands = [step.get("run") for job in jobs.values() for step in job["steps"]]
    assert ".ci/run" in commands


def shell_function(name, *arguments, input):
    """The output of a function of scripts/test."""
    [body] = re.findall(rf"^{name}\(\) \{{\n.*?^}}\n", text("scripts/test"), re.MULTILINE | re.DOTALL)
    done = subprocess.run(["bash", "-c", f'{body}{name} "$@"', "-", *arguments], input=input, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_summary_shows_the_errors_of_the_type_checker():
    error = "src/faults.ts(12,3): error TS2322: Type 'string' is not assignable to type 'number'."
    assert shell_function("failures_of", input=f"building\n{error}\n") == [error]


def test_the_summary_of_the_python_kit_shows_what_was_not_checked():
    result = "======== 99 passed, 1 skipped in 61.32s (0:01:01) ========"
    output = f"""tests/test_examples.py ..s
=== short test summary info ===
SKIPPED [1] tests/test_examples.py:42: NOT CHECKED: there is no Go on this machine
{result}
"""
    summary = shell_function("summary_of", "testkit-python", input=output)
    assert summary == ["NOT CHECKED: there is no Go on this machine", result]


def test_the_jobs_of_the_documentation_install_the_kit_before_pytest():
    steps = [block for block in map(yaml.safe_load, yaml_blocks()) if isinstance(block, list)]
    for document in documents():
        for job in (document.get("jobs") or {"test": document.get("test")}).values():
            steps.append([{"run": line} for line in job.get("script", [])] if job and "script" in job else (job or {}).get("steps", []))
    jobs = [[step.get("run", "") for step in job] for job in steps]
    jobs = [commands for commands in jobs if any(command.startswith("pytest") for command in commands)]
    assert len(jobs) == 4
    for commands in jobs:
        [use] = [at for at, command in enumerate(commands) if command.startswith("pytest")]
        assert any("greenroom-testkit[pytest]" in command for command in commands[:use]), commands


@pytest.mark.parametrize("name", ["scripts/test", "scripts/crash", "scripts/fuzz", ".ci/run"])
def test_a_script_is_executable_and_parses(name):
    assert (TOP / name).stat().st_mode & 0o111 == 0o111
    checked = subprocess.run(["bash", "-n", TOP / name], capture_output=True, text=True)
    assert (checked.stderr, checked.returncode) == ("", 0)
