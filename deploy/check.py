"""What deploy/check does not leave to a tool: Cloud Run's YAML, Terraform, Docker, the function."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request

import hcl2
import yaml
from dockerfile_parse import DockerfileParser

PORT = 8080


def check_services():
    for name in ("receiver", "caller"):
        with open(f"cloud-run/{name}.yaml") as file:
            service = yaml.safe_load(file)
        assert service["apiVersion"] == "serving.knative.dev/v1", name
        assert service["kind"] == "Service", name
        spec = service["spec"]["template"]["spec"]
        assert spec["serviceAccountName"].endswith(".iam.gserviceaccount.com"), name
        (container,) = spec["containers"]
        assert container["ports"][0]["containerPort"] == PORT, name
        yield container


def check_terraform():
    with open("terraform/main.tf") as file:
        whole = hcl2.load(file)
    kinds = {}
    for resource in whole["resource"]:
        for kind, named in resource.items():
            kinds.setdefault(kind.strip('"'), []).extend(named.values())
    assert len(kinds["google_cloud_run_v2_service"]) == 1
    (binding,) = kinds["google_cloud_run_v2_service_iam_member"]
    assert binding["role"].strip('"') == "roles/run.invoker"
    assert "google_service_account.front" in binding["member"], "nobody else may call"


def check_dockerfile():
    parsed = DockerfileParser("Dockerfile")
    instructions = [line["instruction"] for line in parsed.structure]
    assert instructions.count("FROM") == 2
    assert [line["value"] for line in parsed.structure if line["instruction"] == "USER"] == ["nonroot"]
    (entry,) = [line["value"] for line in parsed.structure if line["instruction"] == "ENTRYPOINT"]
    assert entry.startswith("["), "a shell form would swallow SIGTERM"
    assert parsed.envs["PORT"] == str(PORT)


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def check_function(program, container):
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    child = subprocess.Popen([program], env=env | {"PORT": "0"}, stdout=subprocess.PIPE, text=True)
    try:
        port = child.stdout.readline().split()[-1]
        health = container["startupProbe"]["httpGet"]["path"]
        assert status(f"http://127.0.0.1:{port}{health}") == 200
        assert status(f"http://127.0.0.1:{port}/") == 401
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == 0
        assert "stopped" in child.stdout.read()
    finally:
        child.kill()


def main():
    receiver, _ = check_services()
    check_terraform()
    check_dockerfile()
    check_function(sys.argv[1], receiver)
    print("deploy: services, Terraform, Dockerfile, Kubernetes, Envoy, and the function itself")


main()
