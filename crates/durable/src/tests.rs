//! What is on the disk when a function returns, and what is left when it fails.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn dir() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().canonicalize().unwrap();
    (dir, whole)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The directories that are synced while one is made, each with what was in it then.
fn synced(dir: &Path) -> Vec<(PathBuf, Vec<String>)> {
    let mut synced = Vec::new();
    let listed = &mut |dir: &Path| {
        let names = dir.read_dir()?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
        synced.push((dir.to_owned(), names.collect::<io::Result<_>>()?));
        Ok(())
    };
    make(dir, Access::Owner, listed).unwrap();
    synced
}

#[test]
fn every_directory_that_got_an_entry_is_synced_behind_it_and_before_anything_is_below() {
    let (_held, top) = dir();
    let (a, b) = (top.join("a"), top.join("a/b"));
    let made = synced(&b.join("c"));
    let [_, of_top, of_a, of_b] = &made[..] else { panic!("{made:?}") };
    assert_eq!(*of_top, (top.clone(), vec!["a".to_owned()]));
    assert_eq!(*of_a, (a, vec!["b".to_owned()]));
    assert_eq!(*of_b, (b, vec!["c".to_owned()]));
    assert_eq!(mode(&top.join("a/b/c")), 0o700);
}

#[test]
fn one_that_is_there_may_have_been_left_by_a_process_that_was_killed_and_is_synced_too() {
    let (_held, top) = dir();
    fs::create_dir(top.join("a")).unwrap();
    assert_eq!(synced(&top.join("a")), [(top.clone(), vec!["a".to_owned()])]);
    // By whatever name it is reached.
    std::os::unix::fs::symlink(top.join("a"), top.join("link")).unwrap();
    fs::create_dir(top.join("a/b")).unwrap();
    assert_eq!(synced(&top.join("link/b")), [(top.join("a"), vec!["b".to_owned()])]);
}

#[test]
fn what_the_disk_does_not_keep_is_not_there_so_that_the_next_try_makes_it_anew() {
    let (_held, top) = dir();
    let failing = &mut |dir: &Path| {
        if dir == top.join("a") { Err(io::Error::other("a disk's")) } else { Ok(()) }
    };
    assert!(make(&top.join("a/b"), Access::Owner, failing).is_err());
    assert_eq!((top.join("a").exists(), top.join("a/b").exists()), (true, false));
    make_dir(&top.join("a/b"), Access::Everybody).unwrap();
    assert!(top.join("a/b").is_dir());
}

#[test]
fn a_file_in_the_way_of_a_directory_is_an_error_and_stays() {
    let (_held, top) = dir();
    fs::write(top.join("a"), "a file").unwrap();
    assert!(make_dir(&top.join("a"), Access::Owner).is_err());
    assert!(make_dir(&top.join("a/b"), Access::Owner).is_err());
    assert_eq!(fs::read(top.join("a")).unwrap(), b"a file");
}

#[test]
fn a_file_is_replaced_whole_with_the_mode_it_is_to_have_also_where_a_crash_left_one_for_everybody() {
    let (_held, top) = dir();
    let file = top.join("token");
    fs::write(file.with_added_extension("new"), "half").unwrap();
    replace(&file, b"secret", Access::Owner).unwrap();
    assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"secret".to_vec(), 0o600));
    replace(&file, b"another", Access::Owner).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"another");
    assert_eq!(top.read_dir().unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_file_that_cannot_take_its_place_leaves_what_was_there_and_nothing_else() {
    let (_held, top) = dir();
    fs::create_dir(top.join("token")).unwrap();
    assert!(replace(&top.join("token"), b"secret", Access::Owner).is_err());
    assert!(top.join("token").is_dir());
    assert_eq!(top.read_dir().unwrap().count(), 1);
}

#[test]
fn a_file_is_made_once_and_one_that_is_there_stays() {
    let (_held, top) = dir();
    let file = top.join("key.pem");
    create(&file, b"key", Access::Owner).unwrap();
    let refused = create(&file, b"other", Access::Owner).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"key".to_vec(), 0o600));
}

#[test]
fn a_directory_is_moved_with_all_that_is_in_it() {
    let (_held, top) = dir();
    make_dir(&top.join("audit/log"), Access::Owner).unwrap();
    make_dir(&top.join("aside"), Access::Owner).unwrap();
    rename(&top.join("audit"), &top.join("aside/audit")).unwrap();
    assert!(top.join("aside/audit/log").is_dir() && !top.join("audit").exists());
}

#[test]
fn a_directory_with_secrets_is_closed_to_others_and_left_to_its_group() {
    let (_held, top) = dir();
    for (found, left) in [(0o755, 0o750), (0o2770, 0o770), (0o700, 0o700)] {
        fs::set_permissions(&top, Permissions::from_mode(found)).unwrap();
        take_dir(&top).unwrap();
        assert_eq!(mode(&top), left, "{found:o}");
    }
    take_dir(&top.join("new")).unwrap();
    assert_eq!(mode(&top.join("new")), 0o700);
}

#[test]
fn a_directory_in_which_somebody_else_could_replace_them_is_refused_with_what_to_do() {
    let (_held, top) = dir();
    for open in [0o777, 0o1777, 0o703] {
        fs::set_permissions(&top, Permissions::from_mode(open)).unwrap();
        let error = take_dir(&top).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{open:o}");
        assert!(error.to_string().contains("chmod o-w"), "{error}");
        assert_eq!(mode(&top), open & 0o777, "it is left as it is");
    }
    for (owner, me) in [(1000, 0), (1000, 1001)] {
        let error = refuse(owner, me, 0o700).unwrap_err();
        assert!(
            error.to_string().contains("the user 1000") && error.to_string().contains("chown"),
            "{error}"
        );
    }
    refuse(0, 1001, 0o770)
        .expect("the superuser may do anything anyway, as the mount point of a volume shows");
}
