//! Commands that work on this machine alone, whatever server is named.
//!
//! In: a command and `--server`. Out: a refusal where the one does not go with the other: who names a server and takes the
//! fleet of this machine down instead has lost the wrong one.

use super::audit::AuditCommand;
use super::chaos::ChaosCommand;
use super::{Command, Exit, Failure, Global};

/// Refuses `--server` (or its variable) to a command that would work on this machine instead, and a data directory that nothing
/// can be started in.
pub(super) fn check(global: &Global, command: &Command) -> Result<(), Failure> {
    // The keeper is told of it as text.
    if matches!(command, Command::Serve(_) | Command::Up(_)) && global.dir.to_str().is_none() {
        let message = format!(
            "the data directory {} is no UTF-8 text; name another one with --dir",
            global.dir.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let (Some(server), Some(name)) = (&global.server, works_here(command)) else { return Ok(()) };
    let dir = global.dir.display();
    let message = format!(
        "`{name}` works on this machine, with its data directory {dir}, and would do nothing at {server}; leave \
         --server out, unset HOMEOSTAT_SERVER, or run it there"
    );
    Err(Failure { exit: Exit::Usage, message })
}

/// The name of a command that starts, ends, changes or reads what is on this machine and asks no server for it.
fn works_here(command: &Command) -> Option<&'static str> {
    Some(match command {
        Command::Demo(_) => "demo",
        Command::Serve(_) => "serve",
        Command::Drill(_) => "drill",
        Command::Up(_) => "up",
        Command::Down => "down",
        Command::Bench(_) => "bench",
        Command::Reload(_) => "reload",
        Command::LogLevel(_) => "log-level",
        Command::SupportBundle(_) => "support-bundle",
        Command::Backup(_) => "backup",
        Command::Restore(_) => "restore",
        Command::Tls(_) => "tls",
        Command::Chaos(ChaosCommand::Recover { .. }) => "chaos recover",
        Command::Audit(AuditCommand::List(_) | AuditCommand::RotateKey(_)) => return None,
        Command::Audit(_) => "audit",
        _ => return None,
    })
}
