"""Rules and dashboard of Prometheus: valid, tested by promtool, linked to the operators' page, of metrics that exist.

promtool is part of Debian's package prometheus. Without it, what needs it is skipped and says so.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docs import FILES, ROOT
from tests.contract.deploy.test_docs import anchors
from tests.support.scrape import parse

_PROMETHEUS = ROOT / "deploy" / "prometheus"
_RULES: dict[str, Any] = yaml.safe_load((_PROMETHEUS / "rules.yaml").read_text(encoding="utf-8"))
_ALERTS = [rule for group in _RULES["groups"] for rule in group["rules"] if "alert" in rule]
_RECORDED = {rule["record"] for group in _RULES["groups"] for rule in group["rules"] if "record" in rule}
# Metrics of others: Prometheus itself, kube-state-metrics.
_FOREIGN = {"up", "kube_job_status_failed"}


def promtool(*arguments: str, directory: Path = _PROMETHEUS) -> subprocess.CompletedProcess[str]:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus): the rules can't be run")
    command = ["promtool", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=1200, check=False)


def queries() -> list[str]:
    """Every query of the dashboard, with the interval that Grafana would put in."""
    board = json.loads((_PROMETHEUS / "dashboard.json").read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "5m") for query in found]


def metrics_of(expression: str) -> set[str]:
    """The names of metrics in a query: words that are no function, label or keyword."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)|\"[^\"]*\"", "", expression)
    # A function is followed by its arguments; 1e3 is a number.
    words = re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*+(?!\s*\()", bare)
    return set(words) - {"and", "or", "unless", "bool"}


def test_the_rules_are_valid() -> None:
    answer = promtool("check", "rules", "rules.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_rules_fire_on_a_bad_day_and_on_no_other() -> None:
    answer = promtool("test", "rules", "tests.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_is_among_those_of_the_bad_day() -> None:
    [bad, *_] = yaml.safe_load((_PROMETHEUS / "tests.yaml").read_text(encoding="utf-8"))["tests"]
    [wanted] = bad["promql_expr_test"]
    fired = {name for each in wanted["exp_samples"] for name in re.findall(r'alertname="(\w+)"', each["labels"])}
    assert fired == {alert["alert"] for alert in _ALERTS}


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_links_to_what_an_operator_does(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors(ROOT / page)
    assert alert["annotations"]["summary"]
    assert f"`{alert['alert']}`" in (ROOT / page).read_text(encoding="utf-8")


def test_the_prometheus_rule_of_kubernetes_has_the_same_rules() -> None:
    path = "deploy/k8s/components/prometheus/rules.yaml"
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path](), "run make docs"
    assert yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))["spec"]["groups"] == _RULES["groups"]


def test_every_query_of_the_dashboard_is_one(tmp_path: Path) -> None:
    rules = [{"record": f"query:number{number}", "expr": query} for number, query in enumerate(queries())]
    assert len(rules) > 20
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    answer = promtool("check", "rules", "queries.yaml", directory=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def documented() -> set[str]:
    """The metrics that the operators' page lists, as Prometheus has them; tests/e2e compares the page with a scrape."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return {name.replace(".", "_") for name in re.findall(r"^\| `([a-z][\w.]+)` \|", page, flags=re.MULTILINE)}


def asked() -> set[str]:
    expressions = queries() + [rule["expr"] for group in _RULES["groups"] for rule in group["rules"]]
    return {name for expression in expressions for name in metrics_of(expression)} - _RECORDED - _FOREIGN


def test_rules_and_dashboard_ask_for_documented_metrics_only() -> None:
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked()} <= documented()


def kept_series() -> list[dict[str, str]]:
    """A real scrape of all services as promtool's series: a counter grows by its value each minute.

    `make run`'s services answered it (tests/e2e/test_metrics.py); the label service is what Prometheus adds.
    """
    found, service = [], ""
    for part in (
        (ROOT / "tests" / "contract" / "deploy" / "scrape.txt").read_text(encoding="utf-8").split("# service: ")
    ):
        service, _, text = part.partition("\n")
        for family in parse(text).values() if service else ():
            for (name, pairs), value in family.samples.items():
                labels = ",".join(f'{key}="{each}"' for key, each in (*pairs, ("service", service)))
                number = f"{value:f}"
                values = f"{number}x30" if family.kind == "gauge" else f"0+{number}x30"
                found.append({"series": f"{name}{{{labels}}}", "values": values})
    return found


def test_every_query_of_the_dashboard_has_an_answer_in_a_real_scrape(tmp_path: Path) -> None:
    """Also where nothing is wrong: a panel without data looks like a broken one."""
    one = [{"labels": "{}", "value": 1}]
    answered = [
        {"expr": f"count({query}) > bool 0", "eval_time": "30m", "exp_samples": one}
        for query in dict.fromkeys(queries())
    ]
    case = {"interval": "1m", "input_series": kept_series(), "promql_expr_test": answered}
    (tmp_path / "rules.yaml").write_text((_PROMETHEUS / "rules.yaml").read_text(encoding="utf-8"))
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [case]}))
    answer = promtool("test", "rules", "case.yaml", directory=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("query", queries() + [rule["expr"] for group in _RULES["groups"] for rule in group["rules"]])
def test_a_query_groups_and_selects_by_labels_that_its_metrics_have(query: str) -> None:
    has: dict[str, set[str]] = {}
    for each in kept_series():
        name, _, labels = each["series"].partition("{")
        has.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    named = metrics_of(query)
    if named & (_RECORDED | _FOREIGN):
        return
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", labels)}
    selected = {label for labels in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)\s*[=!]", labels)}
    assert grouped | selected <= set.union(*(has[name] for name in named))


def test_names_are_told_from_functions_and_labels() -> None:
    query = 'sum by (le) (rate(a_bucket{le=~"1|2",x="y"}[5m])) / on (b) c:d > 1e3 and max(e_f) == 2'
    assert metrics_of(query) == {"a_bucket", "c:d", "e_f"}
