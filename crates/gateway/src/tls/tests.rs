//! What is taken, what is refused with which words, and what changes when files do.

use std::fs;
use std::time::Duration;

use super::*;

/// A clock that stands.
#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> domain::Time {
        domain::Time { boot_us: 0, wall_us: self.0 * 1_000_000 }
    }

    fn wait(&self, _duration: Duration) {}
}

const NOW: i64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Place {
    _dir: tempfile::TempDir,
    files: TlsFiles,
}

impl Place {
    /// With a certificate made at a time, valid for a day.
    fn with(name: &str, made: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let place = Self { _dir: dir, files };
        place.put(name, made);
        place
    }

    fn put(&self, name: &str, made: i64) {
        let made = made_at(name, made);
        fs::write(&self.files.certificate, made.certificate).unwrap();
        fs::write(&self.files.key, made.key).unwrap();
    }

    fn open(&self) -> Result<Tls, TlsError> {
        Tls::open(self.files.clone(), Arc::new(At(NOW)))
    }

    fn refusal(&self) -> String {
        self.open().expect_err("it must be refused").to_string()
    }
}

fn made_at(name: &str, made: i64) -> SelfSigned {
    self_signed(&[name.to_owned(), "192.0.2.7".to_owned(), "2001:db8::1".to_owned()], At(made).now(), DAY)
        .unwrap()
}

#[test]
fn a_certificate_is_taken_with_its_names_and_times() {
    let tls = Place::with("Homeostat.Example", NOW).open().unwrap();
    let facts = tls.facts();
    assert_eq!(facts.names, ["homeostat.example", "192.0.2.7", "2001:db8::1"]);
    assert_eq!((facts.valid_from, facts.expires), (NOW - 3600, NOW + 86_400));
    assert!(tls.is_named("HOMEOSTAT.example") && tls.is_named("192.0.2.7"));
    assert!(!tls.is_named("example") && !tls.is_named("192.0.2.8"));
}

#[test]
fn what_cannot_be_used_is_refused_with_the_file_and_the_reason() {
    let place = Place::with("a.example", NOW);
    fs::write(&place.files.key, made_at("a.example", NOW).key).unwrap();
    let refusal = place.refusal();
    assert!(refusal.contains("key.pem does not belong to") && refusal.contains("cert.pem"), "{refusal}");

    let place = Place::with("a.example", NOW);
    fs::copy(&place.files.key, &place.files.certificate).unwrap();
    assert!(place.refusal().contains("cert.pem holds no certificate"), "{}", place.refusal());

    let place = Place::with("a.example", NOW);
    fs::copy(&place.files.certificate, &place.files.key).unwrap();
    assert!(place.refusal().contains("key.pem holds no private key"), "{}", place.refusal());

    let place = Place::with("a.example", NOW);
    fs::remove_file(&place.files.key).unwrap();
    assert!(place.refusal().contains("cannot read") && place.refusal().contains("key.pem"));

    let place = Place::with("a.example", NOW);
    fs::write(&place.files.certificate, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(place.refusal().contains("the first certificate in"), "{}", place.refusal());
}

#[test]
fn a_broken_key_is_not_quoted() {
    let place = Place::with("a.example", NOW);
    fs::write(&place.files.key, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n")
        .unwrap();
    assert!(!place.refusal().contains("c2VjcmV0"), "{}", place.refusal());
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_told_once() {
    let place = Place::with("old.example", NOW);
    let tls = place.open().unwrap();
    assert_eq!(tls.look(), None, "nothing changed");

    // As a renewal that writes one file and then the other: the moment between is not worth a word.
    let new = made_at("new.example", NOW);
    fs::write(&place.files.certificate, &new.certificate).unwrap();
    assert_eq!(tls.look(), None);
    assert!(tls.is_named("old.example"));
    fs::write(&place.files.key, &new.key).unwrap();
    let Some(TlsNotice::Taken(said)) = tls.look() else { panic!("it is taken") };
    assert!(said.contains("new.example") && tls.is_named("new.example"), "{said}");

    fs::write(&place.files.certificate, "garbage").unwrap();
    assert_eq!(tls.look(), None);
    let Some(TlsNotice::Broken(said)) = tls.look() else { panic!("it is still broken") };
    assert!(said.contains("cert.pem holds no certificate") && said.contains("stays in use"), "{said}");
    assert_eq!(tls.look(), None, "told once");
    assert!(tls.reload().is_err(), "who asks is told again");
    assert!(tls.is_named("new.example"), "what works stays");

    place.put("third.example", NOW);
    assert!(matches!(tls.look(), Some(TlsNotice::Taken(said)) if said.contains("third.example")));
}

#[test]
fn a_certificate_out_of_its_time_is_used_and_gives_concern() {
    let tls = Place::with("a.example", NOW - 2 * 86_400).open().unwrap();
    let said = tls.concern().expect("it is over").to_string();
    assert!(said.contains("cert.pem expired at 2027-01-14T08:00:00Z"), "{said}");

    let tls = Place::with("a.example", NOW + 86_400).open().unwrap();
    let said = tls.concern().expect("it has not begun").to_string();
    assert!(said.contains("not valid before 2027-01-16T07:00:00Z"), "{said}");

    let tls = Place::with("a.example", NOW).open().unwrap();
    assert!(matches!(tls.concern(), Some(Concern::EndsSoon { at, .. }) if at == NOW + 86_400));
}

#[test]
fn a_new_certificate_has_to_be_valid() {
    let place = Place::with("old.example", NOW - 2 * 86_400);
    let tls = place.open().unwrap();
    place.put("older.example", NOW - 3 * 86_400);
    assert!(matches!(tls.reload(), Err(TlsError::Expired { .. })));
    assert!(tls.is_named("old.example"));
    place.put("new.example", NOW);
    assert!(matches!(tls.reload(), Ok(Reload::Taken(_))), "what is over gives way to what is not");
    assert!(tls.is_named("new.example") && !matches!(tls.concern(), Some(Concern::Expired { .. })));
}

#[test]
fn a_concern_is_said_at_once_when_it_changes_and_daily() {
    let mut said = concern::Said::default();
    let soon = || Some(Concern::EndsSoon { file: "a.pem".into(), at: NOW });
    let over = || Some(Concern::Expired { file: "a.pem".into(), since: NOW });
    let at = |seconds| At(NOW + seconds).now();
    assert_eq!(said.next(soon(), at(0)), soon());
    assert_eq!(said.next(soon(), at(86_399)), None);
    assert_eq!(said.next(soon(), at(86_400)), soon());
    assert_eq!(said.next(over(), at(86_401)), over());
    assert_eq!(said.next(None, at(86_402)), None);
    assert_eq!(said.next(over(), at(86_403)), over(), "it is back");
    assert_eq!(said.next(over(), at(0)), over(), "the clock was set back");
}

#[test]
fn a_name_with_a_star_stands_for_one_label() {
    assert!(matches_name("*.example.org", "a.EXAMPLE.org"));
    assert!(!matches_name("*.example.org", "example.org"));
    assert!(!matches_name("*.example.org", "a.b.example.org"));
}

#[test]
fn names_that_are_none_make_no_certificate() {
    for name in ["", "a b", "CN=x", "*"] {
        let made = self_signed(&[name.to_owned()], At(NOW).now(), DAY);
        assert!(matches!(made, Err(SelfSignedError::Name { .. })), "{name}");
    }
    assert!(matches!(self_signed(&[], At(NOW).now(), DAY), Err(SelfSignedError::Nameless)));
}
