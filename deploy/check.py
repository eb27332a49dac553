"""What deploy/check does not leave to a tool: Cloud Run's YAML, Terraform, Docker, the services."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import hcl2
import kubernetes_validate
import yaml
from dockerfile_parse import DockerfileParser

PORT = 8080
FRONT = "front@project.iam.gserviceaccount.com"
STRANGER = "stranger@elsewhere.iam.gserviceaccount.com"


# --- files ---


def check_service(name):
    """Cloud Run's services are Kubernetes pods with two fields of Knative's, and need no names."""
    with open(f"cloud-run/{name}.yaml") as file:
        service = yaml.safe_load(file.read().replace("PROJECT", "project"))
    assert service.keys() == {"apiVersion", "kind", "metadata", "spec"}, name
    assert service["apiVersion"] == "serving.knative.dev/v1", name
    assert service["kind"] == "Service", name
    assert service["metadata"].keys() <= {"name", "annotations", "labels"}, name
    template = service["spec"]["template"]
    spec = dict(template["spec"])
    for knative in ("containerConcurrency", "timeoutSeconds"):
        assert isinstance(spec.pop(knative, 1), int), name
    spec["containers"] = [{"name": name} | container for container in spec["containers"]]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    assert spec["serviceAccountName"].endswith(".iam.gserviceaccount.com"), name
    (container,) = spec["containers"]
    assert container["ports"][0]["containerPort"] == PORT, name
    assert container["startupProbe"]["httpGet"]["path"] == "/health", name
    return {variable["name"]: variable["value"] for variable in container["env"]}


def check_terraform():
    with open("terraform/main.tf") as file:
        whole = hcl2.load(file)
    kinds = {}
    for resource in whole["resource"]:
        for kind, named in resource.items():
            kinds.setdefault(kind.strip('"'), []).extend(named.values())
    assert len(kinds["google_cloud_run_v2_service"]) == 2
    (binding,) = kinds["google_cloud_run_v2_service_iam_member"]
    assert binding["role"].strip('"') == "roles/run.invoker"
    assert "google_service_account.front" in binding["member"], "nobody else may call"


def check_dockerfile():
    parsed = DockerfileParser("Dockerfile")
    values = {}
    for line in parsed.structure:
        values.setdefault(line["instruction"], []).append(line["value"])
    assert len(values["FROM"]) == 2
    assert all(int(user) > 0 for user in values["USER"][0].split(":")), "no root"
    assert values["ENTRYPOINT"][0].startswith("["), "a shell form would swallow SIGTERM"
    assert parsed.envs["PORT"] == str(PORT)


def check_envoy():
    with open("envoy/sidecar.yaml") as file:
        clusters = yaml.safe_load(file)["static_resources"]["clusters"]
    (hello,) = [cluster for cluster in clusters if cluster["name"] == "hello"]
    tls = hello["transport_socket"]["typed_config"]
    assert tls["auto_sni_san_validation"], "any site's certificate would do"
    endpoint = hello["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert tls["sni"] == endpoint["address"]["socket_address"]["address"]


# --- services ---


class Program:
    """One of the programs, until the end of the block."""

    def __init__(self, arguments, env):
        self.child = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True)
        self.first_line = self.child.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def port(self):
        return int(self.first_line.split()[-1])

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port()}{path}"

    def ended_well(self):
        return self.child.wait(timeout=20) == 0 and "stopped" in self.child.stdout.read()


class Held(http.server.ThreadingHTTPServer):
    """Answers each request when `go_on` is set, with what `text` gives then."""

    def __init__(self, text):
        held = self
        self.arrived, self.go_on = threading.Event(), threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                held.arrived.set()
                held.go_on.wait(60)
                body = text()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


def get(url, token=None):
    """Status and text of the answer."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def finishes_in_flight(program, held, token=None):
    """Whether a request that waits for `held` is answered although SIGTERM came before."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(get(program.url(), token)))
    asking.start()
    assert held.arrived.wait(60)
    program.child.send_signal(signal.SIGTERM)
    # It takes no new connections before it goes on with the old one.
    deadline = time.monotonic() + 60
    while not refuses(program.port()):
        assert time.monotonic() < deadline, "it takes new connections after SIGTERM"
        time.sleep(0.01)
    held.go_on.set()
    asking.join()
    held.shutdown()
    return answers[0] if program.ended_well() else None


def check_services(programs, receiver, caller):
    function, front = [f"{programs}/examples/{name}" for name in ("function", "caller")]
    # The function wants to know where keys are, and the emulator where the function is.
    google_port = free_port()
    receiver = receiver | {"PORT": "0"}
    keys = f"http://127.0.0.1:{google_port}/oauth2/v3/certs"
    with (
        tempfile.TemporaryDirectory() as folder,
        Program([function], receiver | {"IDTOKEN_JWKS_URL": keys}) as hello,
    ):
        world = os.path.join(folder, "world.toml")
        with open(world, "w") as file:
            file.write(WORLD.format(port=hello.port()))
        flags = ["--json", "--allow-shadowing", "--port", str(google_port), "--config", world]
        with Program([f"{programs}/idtoken", "emulate", *flags], {"HOME": folder}) as google:
            told = json.loads(google.first_line)
            (service,) = told["services"]
            tokens = [
                subprocess.check_output(
                    [f"{programs}/idtoken", "print", "-a", caller["HELLO_AUDIENCE"], *source],
                    env={"HOME": folder} | told["env"],
                    text=True,
                ).strip()
                for source in ([], ["--source", f"file:{told['files'][0]}"])
            ]
            env = caller | told["env"] | {"PORT": "0", "HELLO_URL": service["url"]}
            check_calls(front, env, hello, service["url"], tokens[1])
            held = Held(lambda: get(keys)[1].encode())
            with Program([function], receiver | {"IDTOKEN_JWKS_URL": held.url()}) as hello:
                answer = finishes_in_flight(hello, held, tokens[0])
                assert answer == (200, f"hello {FRONT}"), answer


def check_calls(front, env, hello, hello_url, strangers_token):
    with Program([front], env) as caller:
        for program in (hello, caller):
            assert get(program.url("/health")) == (200, "ok")
        answer = get(caller.url())
        assert answer == (200, f"hello {FRONT}"), answer
    # The front end knows whom to let in, and so does the function.
    assert get(hello_url)[0] == 403
    assert get(hello_url, strangers_token)[0] == 403
    assert get(hello.url())[0] == 401
    assert get(hello.url(), strangers_token)[0] == 403
    held = Held(lambda: b"at last")
    with Program([front], env | {"HELLO_URL": held.url()}) as caller:
        answer = finishes_in_flight(caller, held)
        assert answer == (200, "at last"), answer


WORLD = f"""
[metadata]
account = "{FRONT}"
platform = "cloud-run"

[[key]]
account = "{STRANGER}"
file = "stranger.json"

[[service]]
name = "hello"
container = "127.0.0.1:{{port}}"
audiences = ["hello"]
invokers = ["{FRONT}"]
"""


def main():
    receiver, caller = check_service("receiver"), check_service("caller")
    check_terraform()
    check_dockerfile()
    check_envoy()
    check_services(sys.argv[1], receiver, caller)
    print("deploy: files, and both services at work")


main()
