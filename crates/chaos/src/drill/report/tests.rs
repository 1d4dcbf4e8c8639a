//! Preview.
use super::sample::{crash, hang, missed, report, slow};
#[test]
fn preview() {
    let mut runs = Vec::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for number in 0..40 {
        let mut run = match number % 10 {
            0..=2 => crash(number),
            3..=5 => hang(number),
            6..=8 => slow(number),
            _ if number == 19 => missed(number),
            _ => { let mut r = hang(number); r.fault = "cpu_stress".into(); r.row = "cpu-catalogue".into(); r.target="instance/catalogue-0".into(); r.strategy=Some("graceful_restart".into()); r }
        };
        let f = 0.6 + rng.f64() * 1.5;
        let k = if run.fault == "cpu_stress" { 6.0 } else { 1.0 } * f;
        for t in [&mut run.detected_ms, &mut run.diagnosed_ms, &mut run.first_action_ms, &mut run.serving_ms, &mut run.verified_ms] {
            *t = t.map(|t| t * k);
        }
        if number == 24 { run.outcome = domain::OutcomeKind::NotHealed; run.verified_ms = None; run.rolled_back = true; run.explanation = Some("cart-1 hung again 2 s after the restart".into()); }
        runs.push(run);
    }
    let report = report(runs);
    std::fs::write("/tmp/drill-report.html", report.html()).unwrap();
    std::fs::write("/tmp/drill-report.md", report.markdown()).unwrap();
    std::fs::write("/tmp/drill-report.txt", report.table(super::Style::Plain)).unwrap();
    for run in [crash(1), hang(2), slow(3), missed(4)] { println!("{}", super::story(&run)); }
}
