//! The dashboard and the alerts: they can be read, every expression in them is PromQL, and it names only metrics, labels and
//! values that there are.

use promql_parser::label::MatchOp;
use promql_parser::parser::{AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use sessile::metrics::{Kind, Metric, declared};

use super::shipped;

/// Labels that Prometheus adds.
const EVERYWHERE: [&str; 3] = ["job", "instance", "le"];

/// Every expression, as it is written, and where.
fn expressions() -> Vec<(String, String)> {
    let alerts: Value = serde_yaml_ng::from_str(&shipped("docs/prometheus/alerts.yaml")).unwrap();
    let rules = alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut all: Vec<_> = rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect();
    for panel in dashboard()["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        all.extend(targets.map(|target| (text(&panel["title"]), text(&target["expr"]))));
    }
    all
}

fn dashboard() -> Value {
    serde_json::from_str(&shipped("docs/grafana/sessile.json")).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected text, found {value}")).to_owned()
}

/// Finds what an expression names that there is not.
#[derive(Default)]
struct Names {
    wrong: Vec<String>,
    metrics: Vec<&'static str>,
    /// Labels that results are grouped by.
    grouped: Vec<String>,
}

impl Names {
    fn selector(&mut self, selector: &VectorSelector) {
        let name = selector.name.clone().unwrap_or_default();
        if name == "up" {
            return;
        }
        let Some(metric) = declared().iter().find(|metric| is_called(metric, &name)) else {
            return self.wrong.push(format!("no metric {name}"));
        };
        self.metrics.push(metric.name);
        assert!(selector.matchers.or_matchers.is_empty());
        for matcher in &selector.matchers.matchers {
            if EVERYWHERE.contains(&matcher.name.as_str()) {
                continue;
            }
            let values = match matcher.op {
                MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
                _ => vec![matcher.value.as_str()],
            };
            let label = metric.labels.iter().find(|label| label.name == matcher.name);
            for value in values {
                if !label.is_some_and(|label| label.values.contains(&value)) {
                    self.wrong.push(format!("{name} has no {}={value}", matcher.name));
                }
            }
        }
    }

    /// What is grouped by, or matched on, is a label of what stands below.
    fn groups(&mut self, labels: &LabelModifier) {
        let (LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = labels;
        self.grouped.extend(labels.labels.iter().cloned());
    }

    fn finish(mut self) -> (Vec<String>, Vec<&'static str>) {
        for label in &self.grouped {
            let has = |name: &&str| {
                declared()
                    .iter()
                    .any(|metric| metric.name == *name && metric.labels.iter().any(|one| one.name == label))
            };
            if !EVERYWHERE.contains(&label.as_str()) && !self.metrics.iter().any(has) {
                self.wrong.push(format!("no label {label}"));
            }
        }
        (self.wrong, self.metrics)
    }
}

fn is_called(metric: &Metric, name: &str) -> bool {
    match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name)),
        _ => metric.name == name,
    }
}

impl ExprVisitor for Names {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Aggregate(AggregateExpr { modifier: Some(modifier), .. }) => self.groups(modifier),
            Expr::Binary(BinaryExpr { modifier: Some(modifier), .. }) => {
                if let Some(matching) = &modifier.matching {
                    self.groups(matching);
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

/// What is wrong with an expression, and which metrics it names.
fn examine(expression: &str) -> (Vec<String>, Vec<&'static str>) {
    // Grafana fills these in before Prometheus sees them.
    let filled = expression.replace("$__rate_interval", "1m").replace("$job", "sessile");
    match parse(&filled) {
        Ok(parsed) => {
            let mut names = Names::default();
            walk_expr(&mut names, &parsed).unwrap();
            names.finish()
        }
        Err(error) => (vec![error], Vec::new()),
    }
}

#[test]
fn every_expression_names_only_what_there_is() {
    let all = expressions();
    assert!(all.len() > 40, "{}", all.len());
    for (place, expression) in all {
        let (wrong, _) = examine(&expression);
        assert!(wrong.is_empty(), "{place}: {expression}: {wrong:?}");
    }
}

#[test]
fn what_there_is_not_would_be_noticed() {
    for expression in [
        "rate(sessile_requests[5m])",
        "sum(rate(sessile_requests_total{outcome=\"fail\"}[5m]))",
        "sum(rate(sessile_requests_total{result=\"failed\"}[5m]))",
        "sum by (user) (rate(sessile_requests_total[5m]))",
        "sessile_store_operation_seconds",
        "sessile_store_operations_total{operation=~\"load|loads\"}",
        "sum(rate(sessile_requests_total[5m])",
    ] {
        assert!(!examine(expression).0.is_empty(), "{expression}");
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let named: Vec<_> = expressions().iter().flat_map(|(_, expression)| examine(expression).1).collect();
    for metric in declared() {
        assert!(named.contains(&metric.name), "{}", metric.name);
    }
}

#[test]
fn the_dashboard_asks_whichever_prometheus_is_chosen() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["name"] == "datasource" && one["type"] == "datasource"));
    let mut numbers = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        numbers.push(panel["id"].as_u64().unwrap());
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "each panel has a number of its own");
}

#[test]
fn what_is_wrong_looks_wrong_on_the_dashboard() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let defaults = |panel: &Value| panel["fieldConfig"]["defaults"].clone();
    for panel in panels {
        let (title, defaults) = (&panel["title"], defaults(panel));
        if defaults["color"]["mode"] == "thresholds" {
            assert!(
                defaults["thresholds"]["steps"].as_array().unwrap().len() > 1,
                "{title} has one colour whatever it shows"
            );
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            let is_count = text(&target["expr"]).contains("increase(");
            assert!(!is_count || defaults["unit"] == "short", "{title} counts on an axis of {}", defaults["unit"]);
        }
    }
    let titled = |title: &str| panels.iter().find(|panel| panel["title"] == title).unwrap();
    let words = &defaults(titled("Store"))["mappings"][0]["options"];
    assert_eq!([&words["0"]["text"], &words["0"]["color"], &words["1"]["text"]], ["DOWN", "red", "UP"]);
    assert!(
        text(&titled("Last sweep")["targets"][0]["expr"]).contains("> 0)"),
        "before the first round there is no age"
    );
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts: Value = serde_yaml_ng::from_str(&shipped("docs/prometheus/alerts.yaml")).unwrap();
    let page = shipped("docs/src/monitoring.md");
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        let name = text(&rule["alert"]);
        assert!(["warning", "critical"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        assert!(!text(&rule["annotations"]["summary"]).is_empty());
        let anchor = format!("monitoring.html#{}", name.to_lowercase());
        assert!(text(&rule["annotations"]["runbook_url"]).ends_with(&anchor), "{name}");
        assert!(page.lines().any(|line| line == format!("### {name}")), "docs/src/monitoring.md has no {name}");
    }
}
