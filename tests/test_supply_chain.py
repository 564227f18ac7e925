"""What is shipped is known: a bill of materials of exactly the lock, advisories that are asked for and never made up."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNREACHABLE = "http://127.0.0.1:9"


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_an_audit_that_reaches_no_source_of_advisories_fails_and_says_so() -> None:
    done = run(".ci/audit", HTTPS_PROXY=UNREACHABLE, HTTP_PROXY=UNREACHABLE, ALL_PROXY=UNREACHABLE, NO_PROXY="")
    assert done.returncode == 2
    assert "No source of advisories answers" in done.stderr
    assert "No known vulnerabilities" not in done.stdout


def test_the_bill_of_materials_names_every_package_of_the_lock_with_its_version() -> None:
    done = run("make", "-s", "sbom")
    assert done.returncode == 0, done.stderr
    bill = json.loads((ROOT / "dist/sbom.cdx.json").read_text("utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    locked = re.findall(r"(?m)^([\w.-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"))
    assert {(each["name"], each["version"]) for each in bill["components"]} == set(locked)
    assert bill["metadata"]["component"]["name"] == "nurture"


def test_the_base_image_is_a_build_argument_that_a_digest_can_be_given_to() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("FROM")] == ["FROM ${PYTHON_IMAGE} AS build", "FROM ${PYTHON_IMAGE}"]
    assert "PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:" in (ROOT / "docs/operations.md").read_text("utf-8")


def test_the_security_rules_hold_for_all_that_is_shipped() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert {"S", "PLE2502"} <= set(lint["select"])
    assert not [rule for rule in lint["ignore"] if rule.startswith("S")]
    assert [where for where, rules in lint["per-file-ignores"].items() if "S" in rules] == ["tests/**"]
