//! What a backup holds beside the database, and what becomes of second factors where it holds no key.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{Clock, IdSource, Role};
use gateway::access::{Access, AccessConfig, SealingKey};
use provider::clock::SystemClock;
use store::{PasswordHash, Store, UserRecord};
use tempfile::TempDir;

use super::*;
use crate::second_factors;

/// A data directory with a user whose TOTP is in force, and a place for archives beside it.
struct Data {
    home: TempDir,
}

impl Data {
    fn new() -> Self {
        let data = Self { home: tempfile::tempdir().unwrap() };
        let store = Store::open(&data.dir()).unwrap();
        let now = SystemClock.now();
        let ada = UserRecord {
            id: IdSource::seeded(1).next(now),
            name: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            roles: vec![Role::Admin],
            password_hash: Some(PasswordHash("$argon2id$".to_owned())),
            totp: None,
            totp_pending: None,
            totp_step: None,
            oidc: None,
            disabled: false,
            created: now,
            signed_in: None,
        };
        store.add_user(&ada).unwrap();
        let key = Some(SealingKey::of_file(&data.key()).unwrap());
        let config = AccessConfig { key, ..AccessConfig::default() };
        let access = Access::new(store.clone(), Arc::new(SystemClock), "token", config);
        access.enrol_totp("ada").unwrap();
        let pending = store.user("ada").unwrap().unwrap().totp_pending.unwrap();
        assert!(store.confirm_totp("ada", &pending, 1, &[]).unwrap());
        data
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn key(&self) -> PathBuf {
        self.dir().join(SealingKey::FILE)
    }

    fn back_up(&self) -> PathBuf {
        let file = self.home.path().join("monday.backup");
        write(&self.dir(), &file, Telemetry::Included, &SystemClock).unwrap();
        file
    }
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_backup_holds_the_key_of_second_factors_the_reports_of_drills_and_trails_that_were_set_aside() {
    let data = Data::new();
    let kept = ["drills/20261122T070712Z-41.json", "set-aside/2026-11-22T07-07-12Z/audit/log/0.jsonl"];
    for path in kept {
        put(&data.dir().join(path), path);
    }
    put(&data.dir().join("drills/20261122T080712Z-42.part"), "half");
    let to = data.home.path().join("elsewhere");
    let restored = restore(&data.back_up(), &to, Found::Refuse).unwrap();
    assert_eq!(restored.unreadable, Vec::<String>::new());
    assert_eq!(fs::read(to.join(SealingKey::FILE)).unwrap(), fs::read(data.key()).unwrap());
    for path in kept {
        assert_eq!(fs::read_to_string(to.join(path)).unwrap(), path);
    }
    assert!(!to.join("drills/20261122T080712Z-42.part").exists(), "half a report is none");
}

#[test]
fn a_backup_without_a_key_is_restored_and_says_whose_second_factor_cannot_be_checked() {
    let data = Data::new();
    let key = fs::read(data.key()).unwrap();
    fs::remove_file(data.key()).unwrap();
    let archive = data.back_up();
    let to = data.home.path().join("elsewhere");
    let restored = restore(&archive, &to, Found::Refuse).unwrap();
    assert_eq!(restored.unreadable, ["ada"]);
    let told = second_factors::told(&restored.unreadable, &to).unwrap();
    for word in ["ada", "recovery code", "users remove-totp", "access.key"] {
        assert!(told.contains(word), "{told}");
    }
    // A key that is made since opens nothing of it, and leaves what is sealed as it is.
    SealingKey::of_file(&to.join(SealingKey::FILE)).unwrap();
    assert_eq!(second_factors::unreadable(&to).unwrap(), ["ada"]);
    fs::write(to.join(SealingKey::FILE), &key).unwrap();
    assert_eq!(second_factors::unreadable(&to).unwrap(), Vec::<String>::new());

    // Of the server that it is put back to the key is there, and stays.
    fs::write(data.key(), &key).unwrap();
    let restored = restore(&archive, &data.dir(), Found::Replace).unwrap();
    assert_eq!(restored.unreadable, Vec::<String>::new());
    assert_eq!(fs::read(data.key()).unwrap(), key);
}
