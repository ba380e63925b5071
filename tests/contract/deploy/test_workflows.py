"""The workflows: no more rights than they need, actions by version, a signed image of every service."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docs import CONTEXTS, ROOT

_FOLDER = ROOT / ".github" / "workflows"


def workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", sorted(_FOLDER.glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_may_read_unless_a_job_needs_more_and_names_its_actions_versions(path: Path) -> None:
    found = workflow(path)
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 90
        uses = [step["uses"] for step in job["steps"] if "uses" in step]
        assert uses
        assert all(re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d[\w.]*|[0-9a-f]{40})", each) for each in uses)
        # What a tag or a branch is called goes into a shell by the environment alone.
        assert not [step["run"] for step in job["steps"] if "run" in step and "${{" in step["run"]]


def test_every_service_gets_an_image_with_a_bill_of_materials_and_signatures() -> None:
    [job] = workflow(_FOLDER / "images.yml")["jobs"].values()
    assert tuple(job["strategy"]["matrix"]["service"]) == CONTEXTS
    assert job["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    [build] = [step for step in job["steps"] if step.get("id") == "build"]
    assert build["with"]["provenance"] == "mode=max"
    arguments = dict(line.split("=", 1) for line in build["with"]["build-args"].splitlines())
    dockerfile = (ROOT / build["with"]["file"]).read_text(encoding="utf-8")
    assert all(f"ARG {name}" in dockerfile for name in arguments)
    [bill] = [step for step in job["steps"] if step.get("uses", "").startswith("anchore/sbom-action@")]
    assert bill["with"]["format"] == "cyclonedx-json"
    # What is described and signed is the digest that was pushed, not a tag that may move.
    assert bill["with"]["image"].endswith("@${{ steps.build.outputs.digest }}")
    commands = job["steps"][-1]["run"]
    assert "cosign sign --yes" in commands
    assert f"--type cyclonedx --predicate {bill['with']['output-file']}" in commands
    assert job["steps"][-1]["env"] == {"DIGEST": "${{ steps.build.outputs.digest }}"}
