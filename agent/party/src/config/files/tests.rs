use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

/// Far shorter than any of the limits that are not under test.
const AT_ONCE: Duration = Duration::from_secs(5);

fn fifo(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// What is said of `path` where a regular file is expected, at once.
fn refused(path: &Path) -> String {
    let begun = Instant::now();
    let read = read(path, 100).unwrap_err();
    let opened = open(path).unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{}: {:?}", path.display(), begun.elapsed());
    assert_eq!(read.to_string(), opened.to_string());
    read.to_string()
}

#[test]
fn nothing_but_a_regular_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (fifo, socket) = (fifo(&directory), directory.path().join("socket"));
    let _listener = UnixListener::bind(&socket).unwrap();
    let all = [
        (fifo.as_path(), "is a FIFO"),
        (&socket, "is a socket"),
        (directory.path(), "is a directory"),
        (Path::new("/dev/zero"), "is a device"),
        (Path::new("/dev/null"), "is a device"),
    ];
    for (number, (path, told)) in all.into_iter().enumerate() {
        let link = directory.path().join(format!("link{number}"));
        symlink(path, &link).unwrap();
        for path in [path, &link] {
            let text = refused(path);
            assert!(text.contains(&format!("{told}: name a regular file")), "{text}");
            assert!(text.starts_with(&path.display().to_string()), "{text}");
        }
    }
}

#[test]
fn a_file_is_read_as_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "text").unwrap();
    assert_eq!(read(&path, 4).unwrap(), b"text");
    let text = read(&path, 3).unwrap_err().to_string();
    assert!(text.contains("is larger than 3 bytes"), "{text}");
    let content = read_within(Source::File(&path), 4, AT_ONCE).unwrap();
    assert_eq!(content.metadata.len(), 4);
    // Files of the kernel say that they are empty.
    assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
}

#[test]
fn a_file_that_grows_without_end_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut file = File::create(&path).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(move || (0..2000).try_for_each(|_| file.write_all(&[b'x'; 4096])));
        while read(&path, 1 << 20).is_ok() {}
        let text = read(&path, 1 << 20).unwrap_err().to_string();
        assert!(text.contains("is larger than"), "{text}");
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_pipe_that_is_named_is_read_with_a_limit_of_time_and_size() {
    let directory = tempfile::tempdir().unwrap();
    let path = fifo(&directory);
    let named = Source::Named(&path);
    let quick = |most| read_within(named, most, Duration::from_millis(300)).unwrap_err();
    let text = quick(100).to_string();
    assert!(text.contains("is a pipe that did not end within 0.3 s"), "{text}");
    let write = |text: &'static [u8], close: bool| {
        let path = path.clone();
        thread::spawn(move || {
            let mut pipe = File::options().write(true).open(path).unwrap();
            // The reader may have had enough.
            let _ = pipe.write_all(text);
            if !close {
                thread::sleep(AT_ONCE);
            }
        })
    };
    let _open = write(b"abc", false);
    let text = quick(100).to_string();
    assert!(text.contains("did not end within"), "{text}");
    write(b"0123456789", true);
    let text = read_within(named, 5, AT_ONCE).unwrap_err().to_string();
    assert!(text.contains("is larger than 5 bytes"), "{text}");
    let zeros = read_within(Source::Named(Path::new("/dev/zero")), 1 << 20, AT_ONCE).unwrap_err();
    assert!(zeros.to_string().contains("is larger than"), "{zeros}");
}

#[test]
fn a_named_pipe_that_ends_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = fifo(&directory);
    let writer = path.clone();
    let writer = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(writer).unwrap();
        for _ in 0..3 {
            pipe.write_all(b"piece").unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    });
    let content = read_within(Source::Named(&path), 100, AT_ONCE).unwrap();
    assert_eq!(content.bytes.as_slice(), b"piecepiecepiece");
    writer.join().unwrap();
}
