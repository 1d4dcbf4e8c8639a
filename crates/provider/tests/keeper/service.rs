//! The service under test: answers HTTP, writes to its volume, has children, or ends at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};

pub(crate) fn run(manner: &str) -> ExitCode {
    match manner {
        "crash" => {
            println!("ending as asked");
            ExitCode::from(3)
        }
        // Ends itself half a second after SIGTERM, as a service does that finishes what it is doing.
        "slow-to-end" => {
            let script = "trap 'sleep 0.5; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
            let error = std::os::unix::process::CommandExt::exec(Command::new("sh").args(["-c", script]));
            panic!("{error}");
        }
        "busy" => loop {
            std::hint::spin_loop();
        },
        "take" => {
            take(std::env::args().nth(3).unwrap().parse().unwrap());
            ExitCode::SUCCESS
        }
        "idle" => loop {
            std::thread::park();
        },
        _ => serve(),
    }
}

fn serve() -> ExitCode {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("serving on {port}");
    for stream in listener.incoming() {
        let _ = answer(stream.unwrap());
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or("/");
    let body = match path.trim_start_matches('/').split_once('/') {
        Some(("write", bytes)) => write_file(bytes.parse().unwrap()),
        Some(("variable", name)) => std::env::var(name).unwrap_or_default(),
        Some(("take", mib)) => take(mib.parse().unwrap()),
        Some(("child-that-takes", mib)) => {
            let own = std::env::current_exe()?;
            Command::new(own).args(["service", "take", mib]).spawn()?.id().to_string()
        }
        _ if path == "/daemon" => {
            let output =
                Command::new("setsid").args(["sh", "-c", "sleep 1000 >&- 2>&- & echo $!"]).output()?;
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ if path == "/child" => Command::new("sleep").arg("1000").spawn()?.id().to_string(),
        _ if path == "/directory" => std::env::current_dir()?.display().to_string(),
        _ => std::process::id().to_string(),
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Takes so many MiB of memory for good.
fn take(mib: usize) -> String {
    for _ in 0..mib {
        vec![7_u8; 1 << 20].leak();
    }
    "taken".to_owned()
}

fn write_file(bytes: usize) -> String {
    let path = std::path::Path::new(&std::env::var("HOMEOSTAT_VOLUME").unwrap()).join("written");
    match std::fs::write(path, vec![7; bytes]) {
        Ok(()) => "written".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}
