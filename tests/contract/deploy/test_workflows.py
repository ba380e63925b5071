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
    job = workflow(_FOLDER / "images.yml")["jobs"]["image"]
    assert tuple(job["strategy"]["matrix"]["service"]) == (*CONTEXTS, "console")
    assert job["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    [build] = [step for step in job["steps"] if step.get("id") == "build"]
    assert build["with"]["provenance"] == "mode=max"
    arguments = dict(line.split("=", 1) for line in build["with"]["build-args"].splitlines())
    docker = ROOT / "deploy" / "docker"
    names = sorted(path.name for path in docker.iterdir())
    assert names == ["Dockerfile", "console.Dockerfile"]
    assert build["with"]["file"] == (
        "deploy/docker/${{ matrix.service == 'console' && 'console.Dockerfile' || 'Dockerfile' }}"
    )
    dockerfiles = "".join((docker / name).read_text(encoding="utf-8") for name in names)
    assert all(f"ARG {name}" in dockerfiles for name in arguments)
    [bill] = [step for step in job["steps"] if step.get("uses", "").startswith("anchore/sbom-action@")]
    assert bill["with"]["format"] == "cyclonedx-json"
    # What is described and signed is the digest that was pushed, not a tag that may move.
    assert bill["with"]["image"].endswith("@${{ steps.build.outputs.digest }}")
    commands = job["steps"][-1]["run"]
    assert "cosign sign --yes" in commands
    assert f"--type cyclonedx --predicate {bill['with']['output-file']}" in commands
    assert job["steps"][-1]["env"] == {"DIGEST": "${{ steps.build.outputs.digest }}"}


@pytest.mark.parametrize("name", ["Dockerfile", "console.Dockerfile"])
def test_every_image_of_a_release_is_built_from_one_digest_of_its_base(name: str) -> None:
    jobs = workflow(_FOLDER / "images.yml")["jobs"]
    text = (ROOT / "deploy" / "docker" / name).read_text(encoding="utf-8")
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, flags=re.MULTILINE))
    # Every stage begins from an argument, and the workflow gives each argument the image with its digest.
    used = re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", text, flags=re.MULTILINE)
    assert set(used) == {f"${{{base}}}" for base in bases}
    [build] = [step for step in jobs["image"]["steps"] if step.get("id") == "build"]
    given = dict(line.split("=", 1) for line in build["with"]["build-args"].splitlines())
    [digests] = [step for step in jobs["base"]["steps"] if step.get("id") == "digests"]
    for base, image in bases.items():
        output = image.partition(":")[0]
        assert given[base] == f"${{{{ needs.base.outputs.{output} }}}}"
        assert jobs["base"]["outputs"][output] == f"${{{{ steps.digests.outputs.{output} }}}}"
        assert f" {image}" in digests["run"]


def test_the_consoles_image_has_what_it_imports_and_the_build_may_copy() -> None:
    text = (ROOT / "deploy" / "docker" / "console.Dockerfile").read_text(encoding="utf-8")
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    for source in copied:
        assert list(ROOT.glob(source)), source
        assert any(Path(source).is_relative_to(each.partition("/")[0]) for each in allowed), source
    packages = {path.parent.name for path in (ROOT / "clients").glob("*/__init__.py")}
    assert packages == {
        Path(source).parts[1] for source in copied if source.startswith("clients/") and source.count("/") > 1
    } | {
        source.removeprefix("clients/") for source in copied if source in {f"clients/{package}" for package in packages}
    }
