//! `sessile config metrics`: the page of the manual that describes every metric, made from their declarations. For whoever
//! changes one; `sessile --help` does not show it.

use sessile::metrics::{Kind, Label, Metric, declared};

const HEAD: &str = "\
<!-- Made by `sessile config metrics`; a test compares. Do not edit. -->

# Metrics

`sessile serve` shows these under `/metrics` of its operators' listener, in Prometheus' text format. An application of your
own has them with the feature `metrics`, through the facade crate `metrics` and whichever recorder you install:

```rust,ignore
sessile::metrics::describe();                                // after the recorder is installed, before the rest
let config = config.observer(MetricsObserver::default());    // what happens to sessions
let sessions = Sessions::new(Measured::new(store), config);  // what the store does
let gauges = Gauges::new(sessions.clone());                  // what is read when somebody looks
```

- All labels and all their values are listed here. A user, an address or a handle is never one.
- Counters begin at 0 with the process. Figures of the store are the same on every instance: take `max`, not `sum`.
- Figures of the store are at most 15 seconds old plus the time that the store takes for them, however often somebody looks.
- Every request asks the store. No connection listens for notifications (`LISTEN`), so there is no age of a listener to show.
- [Monitoring](monitoring.md) has alerts and a dashboard made of them.

| metric | kind | labels | meaning |
|---|---|---|---|
";

pub(crate) fn page() -> String {
    let rows = declared().iter().map(row);
    std::iter::once(HEAD.to_owned()).chain(rows).collect()
}

fn row(Metric { name, kind, labels, help, .. }: &Metric) -> String {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<_> = labels.iter().map(label).collect();
    format!("| `{name}` | {kind} | {} | {help} |\n", labels.join("; "))
}

fn label(Label { name, values }: &Label) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    format!("`{name}`: {}", values.join(", "))
}
