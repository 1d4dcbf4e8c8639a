//! What a person may name by mistake is said for what it is, at once.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;

fn why(error: &io::Error) -> Unfit {
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    error.get_ref().unwrap().downcast_ref::<Unfit>().unwrap().clone()
}

#[test]
fn a_file_is_read_up_to_its_bound_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    let refused = read(&path, 4).unwrap_err();
    assert_eq!(refused.to_string(), "it has 5 bytes, at most 4 bytes are read");
    // Nothing of a large file is read to find that out.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let refused = read(&path, 1 << 20).unwrap_err();
    assert_eq!(refused.to_string(), "it has 1024 GiB, at most 1 MiB are read");
}

#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let socket = dir.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    for (path, is) in [
        (dir.path().to_owned(), Kind::Directory),
        (fifo, Kind::NamedPipe),
        (socket, Kind::Socket),
        (PathBuf::from("/dev/zero"), Kind::Device),
    ] {
        let refused = read(&path, 1 << 20).unwrap_err();
        assert_eq!(why(&refused), Unfit::NoFile { is, most: Some(Size(1 << 20)) }, "{}", path.display());
        assert_eq!(refused.to_string(), format!("it is {is}; name a regular file of at most 1 MiB"));
        assert_eq!(open(&path).unwrap_err().to_string(), format!("it is {is}; name a regular file"));
        assert!(check_lasting(&path).is_ok());
    }
    assert_eq!(read(Path::new("/dev/null"), 1).unwrap(), b"");
    assert_eq!(read(&dir.path().join("none"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_pipe_of_a_shell_is_read_to_its_end_or_its_bound_and_not_twice() {
    let piped = |text: &[u8]| {
        let (reading, mut writing) = io::pipe().unwrap();
        writing.write_all(text).unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", reading.as_raw_fd()));
        (reading, path)
    };
    let (_open, path) = piped(b"text");
    assert_eq!(read_to_string(&path, 4).unwrap(), "text");
    assert_eq!(why(&check_lasting(&path).unwrap_err()), Unfit::ReadOnce);
    let (_open, path) = piped(b"longer");
    let refused = read(&path, 4).unwrap_err();
    assert_eq!(refused.to_string(), "it goes on beyond 4 bytes, the most that is read");
}

#[test]
fn what_is_no_text_is_refused_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"a\nb\n\xffc").unwrap();
    let refused = read_to_string(file.path(), 100).unwrap_err();
    assert_eq!(refused.to_string(), "line 3 of it is no UTF-8 text");
}
