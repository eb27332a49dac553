"""What deny.toml says of licences and sources, for whoever has no cargo-deny: all that users get."""

import json
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("Python 3.11 or newer is needed")


def used(metadata):
    """The packages that the workspace's members need, but not those that only their tests do."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, ahead = set(), list(metadata["workspace_members"])
    while ahead:
        package = ahead.pop()
        if package not in found:
            found.add(package)
            for needed in nodes[package]["deps"]:
                if any(kind["kind"] != "dev" for kind in needed["dep_kinds"]):
                    ahead.append(needed["pkg"])
    return [package for package in metadata["packages"] if package["id"] in found]


def is_allowed(expression, allowed):
    """Whether an SPDX expression can be met. Exceptions only add to what a licence permits."""
    expression = re.sub(r"\s+WITH\s+\S+", "", expression.replace("/", " OR "))
    words = re.findall(r"[()]|[^\s()]+", expression)
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(python.get(word, str(word in allowed)) for word in words))


def main():
    with open("deny.toml", "rb") as file:
        allowed = set(tomllib.load(file)["licenses"]["allow"])
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    packages = used(json.loads(subprocess.check_output(command)))
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not is_allowed(package["license"] or "none", allowed):
            problems.append(f"{name}: {package['license']}")
        # Which registry it is, cargo-deny can tell.
        if not (package["source"] or "registry+").startswith("registry+"):
            problems.append(f"{name}: from {package['source']}")
    if problems:
        sys.exit("\n".join(problems))
    print(f"   {len(packages)} packages, all under licences that deny.toml allows")


main()
