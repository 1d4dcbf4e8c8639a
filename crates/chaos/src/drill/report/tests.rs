//! What a report says, and that its parts fit together.

use domain::OutcomeKind;
use proptest::prelude::*;
use serde_json::Value;

use super::super::score::{Quantiles, RunScore};
use super::super::witness::LoopWitness;
use super::figures::{self, Standing};
use super::sample::{crash, hang, missed, report, slow};
use super::{MergeError, Quiet, QuietPeriod, Report, Setting, Style, header, line, story, words};

#[test]
fn a_run_is_told_in_one_sentence() {
    assert_eq!(
        story(&hang(0)),
        "cart-1 stopped answering; noticed after 1.9 s, cause found (process hangs, rank 1), restarted, \
         serving again after 2.6 s, verified after 2.8 s; 12 of 410 requests failed"
    );
    assert_eq!(
        story(&crash(0)),
        "cart-0 was killed; noticed after 12 ms, restarted by its keeper, serving again after 0.43 s, \
         verified after 0.43 s; none of 410 requests failed"
    );
    assert_eq!(
        story(&slow(0)),
        "calls from front to catalogue became slow; noticed after 1.9 s, the true cause (path slow) only \
         ranked 2, breaker opened, verified after 2.8 s, mitigated; 1 of 1 request failed"
    );
    assert_eq!(
        story(&missed(0)),
        "the volume of front-0 filled up; not noticed, not healed; no request was made"
    );
    let undone = RunScore {
        cause_rank: None,
        rolled_back: true,
        outcome: OutcomeKind::NotHealed,
        verified_ms: None,
        ..hang(0)
    };
    assert_eq!(
        story(&undone),
        "cart-1 stopped answering; noticed after 1.9 s, the true cause (process hangs) not found, restarted, \
         rolled back, serving again after 2.6 s, not healed; 12 of 410 requests failed"
    );
}

#[test]
fn the_lines_of_runs_stand_under_their_header() {
    let lines: Vec<String> =
        [crash(0), hang(1), slow(2), missed(13)].iter().map(|run| line(run, Style::Plain)).collect();
    assert_eq!(
        format!("{}\n{}\n", header(Style::Plain), lines.join("\n")),
        "\
\x20run  fault              target                 detected  cause    action   serving  verified     failed    outcome
   0  pod_kill           cart-0                    12 ms      –    6.3 ms    0.43 s    0.43 s      0/410  ● healed by standing_restart
   1  pause              cart-1                    1.9 s     #1     1.9 s     2.6 s     2.8 s     12/410  ● healed by restart_pod
   2  network_latency    front->catalogue          1.9 s     #2     1.9 s         –     2.8 s        1/1  ● mitigated by circuit_break_dependency
  13  disk_fill          front-0                       –      –         –         –         –        0/0  ■ not healed, expected healed, 1 left behind
"
    );
}

#[test]
fn colour_is_for_a_terminal_and_for_what_needs_attention() {
    assert!(!report(vec![hang(0), missed(1)]).table(Style::Plain).contains('\u{1b}'));
    assert!(!line(&hang(0), Style::Colour).contains('\u{1b}'));
    let missed = line(&missed(0), Style::Colour);
    assert!(missed.ends_with("\u{1b}[31m■ not healed, expected healed, 1 left behind\u{1b}[0m"), "{missed}");
}

#[test]
fn the_table_ends_with_each_figure_beside_its_target() {
    let text = report(vec![crash(0), hang(1)]).table(Style::Plain);
    let figures = text.split_once("\n\n").unwrap().1;
    assert_eq!(
        figures,
        "\
crash → detected, p95                    12 ms  1 crash                                target < 100 ms     ● met
crash → serving again, p95              0.43 s  1 crash                                target < 1 s        ● met
hang → replaced and verified, p95        2.8 s  1 hang                                 target ≤ 5 s        ● met
fault → repaired and verified, p50      0.43 s  2 runs                                 target ≤ 15 s       ● met
fault → repaired and verified, p95       2.8 s  2 runs                                 target ≤ 60 s       ● met
faults detected                          100 %  2 of 2 runs                            target all          ● met
false alarms in quiet time                   0  60 s                                   target 0            ● met
healed without a human                   100 %  2 of 2 runs expected to heal           target ≥ 95 %       ● met
true cause ranked first                  100 %  1 of 1 run with a cause to find        target ≥ 90 %       ● met
stated confidence off by            8.3 points  stated 92 %, right 100 % (1 of 1 run)  target ≤ 10 points  ● met
cause computed in, p95                  0.8 ms  1 diagnosis                            target < 1 s        ● met
things left behind                           0  2 runs                                 target 0            ● met

the loop heard probes, link proxies and spans
requests are counted by the load's root spans, in all 2 runs
two witnesses of requests: spans tell of 820, 12 failed; the request log of 820, 12 failed; they say the same in 2 of 2 runs

● everything came out as expected
"
    );
}

#[test]
fn markdown_has_the_figures_the_faults_the_runs_and_what_went_wrong() {
    let text = report(vec![crash(0), hang(1), slow(2), missed(3)]).markdown();
    let starts = "\
# Drill report

3 of 4 runs came out as expected; no false alarm in 60 s of quiet; 6 figures miss their targets.

- Homeostat 0.1.0, seed 7, begun 2026-11-21T03:00:00.000Z
- Machine: 2 cores, 8 GiB, kernel 6.12.8, limits held by supervision
- the loop heard probes, link proxies and spans
- requests are counted by the load's root spans, in all 4 runs
- two witnesses of requests: spans tell of 821, 13 failed; the request log of 821, 13 failed; they say the same in 4 of 4 runs
- waits scaled by 0.1
";
    assert!(text.starts_with(starts), "{text}");
    for expected in [
        "| crash → detected, p95 | 12 ms | 1 crash | < 100 ms | met |\n",
        "| faults detected | 75 % | 3 of 4 runs | all | not met |\n",
        "| pause | 1 | 1.9 s / 1.9 s | 2.8 s / 2.8 s | 1 of 1 | – | 1 of 1 |\n",
        "| network_latency | 1 | 1.9 s / 1.9 s | 2.8 s / 2.8 s | – | 1 of 1 | 0 of 1 |\n",
        "| disk_fill | 1 | – | – | 0 of 1 | – | 0 of 1 |\n",
        "| 90 to 100 % | 2 | 91.7 % | 50.0 % | 1 of 2 |\n",
        "| 1 | pause-cart | pause | `instance/cart-1` | 41 ms | 1.9 s | 1.9 s | 1 | 1.9 s | 2.6 s | 2.8 s | healed by restart_pod | no | 12 of 410 | 29.3 | 0 |\n",
        "- run 3: disk-logs-front (disk_fill on volume/front-0) was not detected\n",
        "- run 3: disk-logs-front (disk_fill on volume/front-0) left behind: a file of 15 MiB in the volume of front-0\n",
        "- **verified** (`verified_ms`): the first passing check",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing from\n{text}");
    }
}

#[test]
fn the_page_needs_nothing_beside_it_and_escapes_what_it_shows() {
    let mut odd = missed(3);
    odd.left_behind = vec!["<img src=x onerror=alert(1)>".to_owned()];
    let page = report(vec![crash(0), hang(1), slow(2), odd]).html();
    for absent in ["<script", "http:", "https:", "<link", "@import", "<img"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("&lt;img src=x"));
    for number in 0..4 {
        assert_eq!(page.matches(&format!("id=\"run-{number}\"")).count(), 1);
        assert!(page.contains(&format!("href=\"#run-{number}\"")));
    }
}

#[test]
fn the_page_keeps_names_as_they_are_and_tells_times_with_their_zone() {
    let page = report(vec![crash(0), slow(1)]).html();
    assert!(page.contains("<p>cart-0 was killed; "), "{page}");
    assert!(page.contains("<p>Calls from front to catalogue became slow; "), "{page}");
    assert!(page.contains(">2026-11-21 03:00:00 UTC</time>"), "{page}");
    assert!(page.contains(">100 ms</span>") && !page.contains("0.1 s"), "{page}");
}

#[test]
fn a_picture_marks_what_was_reached_and_says_what_was_not() {
    let page = report(vec![hang(0)]).html();
    for marked in ["injected at 0 s", "effect proven after 41 ms", "verified after 2.8 s"] {
        let title = format!("<title>{marked}</title>");
        assert_eq!(page.matches(&title).count(), 2, "{marked}: once in the line, once in its lane");
    }
    assert!(!page.contains("not reached\""));
    let page = report(vec![slow(0)]).html();
    assert!(page.contains("aria-label=\"serving again not reached\""));
    assert!(!page.contains("<title>serving again"));
}

#[test]
fn json_has_the_promised_keys_and_null_where_a_time_was_not_reached() {
    let json: Value = serde_json::from_str(&report(vec![missed(0)]).json()).unwrap();
    let run = &json["runs"][0];
    for key in ["fault", "target", "outcome", "rolled_back", "requests_failed", "left_behind"] {
        assert!(!run[key].is_null(), "{key}");
    }
    let times = ["detected_ms", "cause_rank", "first_action_ms", "serving_ms", "verified_ms"];
    for key in times.into_iter().chain(["strategy", "error_budget_spent"]) {
        assert_eq!(run.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!((run["effect_ms"].as_f64(), json["seed"].as_u64()), (Some(104.0), Some(7)));
    for key in ["cores", "memory_bytes", "kernel", "limits_enforced_by"] {
        assert!(!json["machine"][key].is_null(), "{key}");
    }
    let summary = &json["summary"];
    for key in ["runs", "detected_ratio", "healed_ratio", "false_alarms", "quiet_seconds", "left_behind"] {
        assert!(summary[key].is_number(), "{key}");
    }
    for key in ["effect_ms", "detected_ms", "first_action_ms", "serving_ms", "verified_ms"]
        .into_iter()
        .chain(["crash_detected_ms", "crash_serving_ms"])
    {
        assert!(summary[key].get("p50").is_some() && summary[key].get("p95").is_some(), "{key}");
    }
}

#[test]
fn a_drill_without_runs_has_no_ratios_and_does_not_pass() {
    let empty = report(Vec::new());
    let summary = &empty.summary;
    let ratios = [summary.detected_ratio, summary.healed_ratio, summary.cause_first_ratio];
    assert_eq!(ratios, [None; 3]);
    assert_eq!(summary.verified_ms, Quantiles { p50: None, p95: None });
    assert_eq!(empty.verdict().unexpected[0].what, "no run was made");
    let measured: Vec<_> = figures::of(&empty)
        .into_iter()
        .filter(|figure| figure.standing != Standing::Unmeasured)
        .map(|figure| figure.name)
        .collect();
    assert_eq!(measured, ["false alarms in quiet time"]);
    assert!(empty.html().contains("No run was made"));
}

#[test]
fn a_time_that_was_not_reached_misses_its_target() {
    let standing = |lost: u32| {
        let runs = (0..20).map(|n| RunScore { serving_ms: (n >= lost).then_some(431.0), ..crash(n) });
        let figures = figures::of(&report(runs.collect()));
        let figure = figures.into_iter().find(|figure| figure.name.contains("serving")).unwrap();
        (figure.measured, figure.over, figure.standing)
    };
    let measured = || "0.43 s".to_owned();
    assert_eq!(standing(1), (measured(), "19 of 20 crashes reached it".to_owned(), Standing::Met));
    assert_eq!(standing(2), (measured(), "18 of 20 crashes reached it".to_owned(), Standing::Missed));
}

#[test]
fn what_came_out_well_in_another_way_is_noted_in_every_form_and_fails_nothing() {
    let note = "scale_replicas was used, expected restart_pod".to_owned();
    let other = RunScore { notes: vec![note], as_expected: false, ..hang(4) };
    let report = report(vec![other]);
    assert!(report.verdict().passed());
    let listed =
        "run 4: pause-cart (pause on instance/cart-1), scale_replicas was used, expected restart_pod";
    assert!(report.markdown().contains(&format!("- {listed}\n")), "{}", report.markdown());
    assert!(report.table(Style::Plain).contains(&format!("▲ {listed}\n")));
    assert!(report.html().contains("pause-cart (pause on instance/cart-1), scale_replicas was used"));
}

#[test]
fn the_verdict_passes_only_without_misses_leftovers_and_false_alarms() {
    assert!(report(vec![crash(0), hang(1), slow(2)]).verdict().passed());
    let better = RunScore { outcome: OutcomeKind::Healed, ..slow(0) };
    assert!(report(vec![better]).verdict().passed(), "a repair where a mitigation was expected");
    let unexpected = |run: RunScore| {
        report(vec![run]).verdict().unexpected.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let explained = RunScore {
        outcome: OutcomeKind::NotHealed,
        explanation: Some("cart-1 hung again 2 s later".to_owned()),
        ..hang(4)
    };
    let head = "run 4: pause-cart (pause on instance/cart-1) came out not healed, expected healed";
    assert_eq!(unexpected(explained), [format!("{head}: cart-1 hung again 2 s later")]);
    let misjudged = RunScore { outcome: OutcomeKind::NotHealed, cause_rank: Some(3), ..hang(4) };
    assert_eq!(unexpected(misjudged), [format!("{head}: the true cause was ranked 3, not 1")]);
    let idle = RunScore { outcome: OutcomeKind::SelfRecovered, strategy: None, ..hang(4) };
    assert_eq!(
        unexpected(idle),
        [
            "run 4: pause-cart (pause on instance/cart-1) came out self recovered, expected healed: no repair was begun"
        ]
    );
    let mut alarmed = report(vec![hang(0)]);
    alarmed.quiet.false_alarms = vec!["high_cpu on instance/cart-0".to_owned()];
    assert_eq!(
        alarmed.verdict().unexpected[0].to_string(),
        "false alarm in a quiet period: high_cpu on instance/cart-0"
    );
}

#[test]
fn confidence_is_compared_with_how_often_it_was_right() {
    let stated = |number, confidence, rank| RunScore {
        confidence: Some(confidence),
        cause_rank: rank,
        ..hang(number)
    };
    let mut runs: Vec<RunScore> = (0..19).map(|n| stated(n, 95.0, Some(1))).collect();
    runs.extend([stated(19, 100.0, Some(2)), stated(20, 50.0, Some(1)), stated(21, 50.0, None)]);
    runs.push(crash(22));
    let held = report(runs).calibration();
    assert_eq!((held.runs, held.right), (22, 20));
    let ranges: Vec<_> =
        held.bins.iter().map(|range| (range.from.0, range.to.0, range.runs, range.right)).collect();
    assert_eq!(ranges, [(50.0, 60.0, 2, 1), (90.0, 100.0, 20, 19)]);
    assert!((held.error.unwrap() - 20.0 * 0.25 / 22.0).abs() < 1e-9, "95.25 % stated, 95 % right: {held:?}");
    assert_eq!(report(vec![crash(0)]).calibration().error, None);
}

#[test]
fn figures_have_two_significant_digits_and_shares_are_not_rounded_up_to_all() {
    let shown = [0.0, 0.012, 0.5, 3.24, 9.96, 38.4, 99.6, 430.0, 996.0, 1902.4, 9960.0, 12_400.0, 186_000.0]
        .map(words::duration);
    assert_eq!(
        shown,
        [
            "0 s", "12 µs", "0.5 ms", "3.2 ms", "10 ms", "38 ms", "0.10 s", "0.43 s", "1.0 s", "1.9 s",
            "10 s", "12 s", "3.1 min"
        ]
    );
    let shares =
        [(2, 3), (299, 300), (1, 300), (9999, 10_000), (3, 3), (0, 3)].map(|(a, b)| words::percent(a, b));
    assert_eq!(shares, ["67 %", "99.7 %", "0.3 %", "99.9 %", "100 %", "0 %"]);
    assert_eq!(words::percent(0, 0), "–");
}

#[test]
fn a_loss_of_spans_is_said_and_the_request_log_is_believed() {
    let mut lost = hang(3);
    let told = lost.witnesses.as_mut().unwrap();
    (told.spans, told.no_spans) = (None, Some("the spans of 7 requests are missing".to_owned()));
    let mut off = hang(1);
    off.witnesses.as_mut().unwrap().log.as_mut().unwrap().total += 2;
    let text = report(vec![hang(0), off, lost]).markdown();
    for expected in [
        "- requests are counted by the load's root spans in 2 runs, by its request log in 1 run\n",
        "spans tell of 820, 24 failed; the request log of 822, 24 failed; they say the same in 1 of 2 runs, at most 2 requests and 0 failures apart in one run\n",
        "- spans could not count requests of run 3: the spans of 7 requests are missing\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing from\n{text}");
    }
}

#[test]
fn a_report_from_before_spans_is_read_as_one_without() {
    let mut json: Value = serde_json::from_str(&report(vec![hang(0)]).json()).unwrap();
    json.as_object_mut().unwrap().remove("witness");
    json["runs"][0].as_object_mut().unwrap().remove("witnesses");
    json["summary"].as_object_mut().unwrap().remove("agreement");
    let read: Report = serde_json::from_value(json).unwrap();
    assert_eq!((read.witness, &read.runs[0].witnesses), (LoopWitness::Probes, &None));
    assert!(read.markdown().contains("- the loop heard probes and link proxies alone, no spans\n- waits"));
}

fn period(began_at: &str, seconds: f64, alarms: &[&str]) -> QuietPeriod {
    let false_alarms = alarms.iter().map(ToString::to_string).collect();
    QuietPeriod { began_at: began_at.to_owned(), seconds, false_alarms }
}

/// A part of a drill that began in minute `minute` and ended with a quiet period.
fn part(minute: u32, runs: Vec<RunScore>) -> Report {
    let whole = report(runs);
    let quiet = Quiet::new(vec![period(&format!("2026-11-21T03:{minute:02}:30.000Z"), 30.0, &["odd"])]);
    let started_at = format!("2026-11-21T03:{minute:02}:00.000Z");
    let notes = vec!["waits scaled by 0.1".to_owned(), format!("part of minute {minute}")];
    let Report { homeostat, machine, seed, witness, runs, .. } = whole;
    Report::new(Setting { homeostat, machine, seed, witness, started_at, notes }, runs, quiet)
}

#[test]
fn a_later_part_replaces_runs_of_the_same_number_and_counts_quiet_time_once() {
    let first = part(1, vec![hang(0), missed(1)]);
    let second = part(2, vec![crash(1), slow(2)]);
    let merged = Report::merge(first, second.clone()).unwrap();
    assert_eq!(merged.runs, [hang(0), crash(1), slow(2)]);
    assert_eq!((merged.summary.runs, merged.summary.left_behind), (3, 0));
    assert_eq!((merged.summary.quiet_seconds, merged.summary.false_alarms), (60.0, 2));
    assert_eq!(merged.started_at, "2026-11-21T03:01:00.000Z");
    assert_eq!(merged.notes, ["waits scaled by 0.1", "part of minute 1", "part of minute 2"]);
    assert_eq!(Report::merge(merged.clone(), second).unwrap(), merged);
}

#[test]
fn parts_of_different_drills_are_refused_by_name() {
    let first = part(1, vec![hang(0)]);
    let refused = |change: fn(&mut Report)| {
        let mut second = part(2, vec![crash(1)]);
        change(&mut second);
        Report::merge(first.clone(), second).unwrap_err()
    };
    assert_eq!(refused(|report| report.seed = 8), MergeError::Seed { earlier: 7, later: 8 });
    let version = refused(|report| report.homeostat = "0.2.0".to_owned()).to_string();
    assert_eq!(version, "the earlier report is of homeostat 0.1.0, this drill of 0.2.0: give another file");
    let witness = refused(|report| report.witness = LoopWitness::Probes).to_string();
    assert!(
        witness.contains("in the earlier report the loop heard probes, link proxies and spans"),
        "{witness}"
    );
    let machine = refused(|report| report.machine.cores = 8).to_string();
    assert!(machine.contains("2 cores, 8 GiB, kernel 6.12") && machine.contains("8 cores"), "{machine}");
    let mut patched = part(2, vec![crash(1)]);
    patched.machine.kernel = "6.12.9-1".to_owned();
    patched.machine.memory_bytes -= 50 << 20;
    assert!(Report::merge(first, patched).is_ok(), "a patched kernel is still the same class of machine");
}

prop_compose! {
    fn any_run()(
        kind in 0usize..4,
        number in 0u32..50,
        times in proptest::collection::vec(proptest::option::of(0u32..200_000_000), 4),
        rank in proptest::option::of(1u32..4),
        failed in 0u64..500,
    ) -> RunScore {
        let ms = |index: usize| times[index].map(|us| f64::from(us) / 1000.0);
        let make: [fn(u32) -> RunScore; 4] = [crash, hang, slow, missed];
        let run = make[kind](number);
        RunScore {
            detected_ms: ms(0),
            first_action_ms: ms(1),
            serving_ms: ms(2),
            verified_ms: ms(3),
            cause_rank: rank,
            requests_failed: failed,
            ..run
        }
    }
}

/// Runs of different numbers.
fn any_runs() -> impl Strategy<Value = Vec<RunScore>> {
    proptest::collection::vec(any_run(), 0..30).prop_map(|mut runs| {
        runs.sort_by_key(|run| run.number);
        runs.dedup_by_key(|run| run.number);
        runs
    })
}

proptest! {
    #[test]
    fn a_report_reads_back_from_its_json(runs in any_runs()) {
        let report = report(runs);
        prop_assert_eq!(serde_json::from_str::<Report>(&report.json()).unwrap(), report);
    }

    #[test]
    fn merging_twice_changes_nothing_and_the_order_of_parts_does_not_matter(
        runs in any_runs(),
        cut in 2u32..50,
    ) {
        let (low, high): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| run.number < cut);
        let (first, second) = (part(1, low), part(2, high));
        let merged = Report::merge(first.clone(), second.clone()).unwrap();
        prop_assert_eq!(&merged.runs, &runs);
        prop_assert_eq!(&Report::merge(second.clone(), first.clone()).unwrap(), &merged);
        prop_assert_eq!(&Report::merge(merged.clone(), first).unwrap(), &merged);
        prop_assert_eq!(&Report::merge(second, merged.clone()).unwrap(), &merged);
    }

    #[test]
    fn every_face_can_show_every_report(runs in any_runs()) {
        let report = report(runs);
        let lines = report.table(Style::Plain);
        prop_assert_eq!(lines.lines().take_while(|line| !line.is_empty()).count(), report.runs.len() + 1);
        let (page, text) = (report.html(), report.markdown());
        for broken in ["NaN", "inf%", "inf s", "inf min"] {
            prop_assert!(!page.contains(broken) && !text.contains(broken), "{broken}");
        }
        prop_assert_eq!(page.matches("<details id=").count(), report.runs.len());
    }
}
