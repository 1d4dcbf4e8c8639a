//! Whether this machine's kernel has what services are held by. Other systems than Linux are refused when this is built.
//!
//! In: what the kernel says its release is. Out: a refusal, for commands that start something; commands that only ask, print or
//! copy work on any.

use crate::cli::{Command, Exit, Failure};

/// The oldest kernel that is supported (specification S6). What is used of a kernel, such as waiting for a pidfd, is in it; below
/// there is no machine that anybody tries this on.
const OLDEST: (u32, u32) = (5, 10);

/// Refuses a command that starts something, where the kernel is too old.
///
/// # Errors
///
/// The sentence for people.
pub(crate) fn check(command: &Command) -> Result<(), Failure> {
    if !starts_something(command) {
        return Ok(());
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match refusal(&release) {
        Some(message) => Err(Failure { exit: Exit::Failed, message }),
        None => Ok(()),
    }
}

/// Whether this machine's kernel has to hold what it starts.
fn starts_something(command: &Command) -> bool {
    match command {
        Command::Demo(args) => args.command.is_none(),
        Command::Drill(args) => args.compare.is_none(),
        Command::Serve(_) | Command::Up(_) => true,
        _ => false,
    }
}

/// Why nothing can be started on a kernel of this release. One that cannot be read is taken for a new one: what is missing is
/// refused then where it is needed.
fn refusal(release: &str) -> Option<String> {
    let (oldest, patch) = OLDEST;
    let older = version(release)? < OLDEST;
    older.then(|| {
        format!(
            "this kernel is Linux {release}; services are started from {oldest}.{patch} on, use a newer one. Commands that \
             ask a server, back up or restore work here too"
        )
    })
}

/// The first two numbers of a release: `5.10.0-30-amd64`, `6.12-rc1`, `4.19.0+`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_too_old_is_refused_by_its_release() {
        for (release, read, refused) in [
            ("5.10.0-30-amd64", Some((5, 10)), false),
            ("5.10", Some((5, 10)), false),
            ("6.12-rc1", Some((6, 12)), false),
            ("6.1.0", Some((6, 1)), false),
            ("10.0.0", Some((10, 0)), false),
            ("5.9.16", Some((5, 9)), true),
            ("5.4.0-150-generic", Some((5, 4)), true),
            ("4.19.0+", Some((4, 19)), true),
            ("4.4.0", Some((4, 4)), true),
            ("3.10.0-1160.el7.x86_64", Some((3, 10)), true),
            ("", None, false),
            ("6", None, false),
            ("next.10", None, false),
            ("6.x", None, false),
            ("99999999999.1", None, false),
        ] {
            assert_eq!(version(release), read, "{release}");
            let said = refusal(release);
            assert_eq!(said.is_some(), refused, "{release}: {said:?}");
            if let Some(said) = said {
                assert!(said.contains(release) && said.contains("5.10"), "{said}");
            }
        }
    }
}
