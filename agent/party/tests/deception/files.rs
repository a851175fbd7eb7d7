//! Files beside the program that Python would take for something else than people.

use super::code::{archive, archive_of};
use super::{Case, PLAIN};

const SHARE: &[u8] = b"def share():\n    return 1\n";
const UNREADABLE: &str = "nobody can read before Python runs it";
const TAKEN: &str = "give it another name";
const NO_NAME: &str = "cannot be the name of a file";

/// A helper in plain sight, and this beside it.
fn beside(tries: &'static str, name: &'static str) -> Case {
    Case::file(tries, "helper.py", SHARE).with(name, b"\xa7\r\r\n\0\0\0\0")
}

fn refused(tries: &'static str, name: &'static str, says: &'static str) -> Case {
    Case::file(tries, name, SHARE).refused(says)
}

pub(crate) fn cases() -> Vec<Case> {
    [not_to_be_read(), of_other_modules(), of_places(), shown()].into_iter().flatten().collect()
}

fn not_to_be_read() -> Vec<Case> {
    let byte_code = |tries, name| beside(tries, name).refused(UNREADABLE);
    vec![
        byte_code("byte code in place of source", "__pycache__/helper.cpython-311.pyc"),
        byte_code("byte code of another spelling", "a/__PyCache__/helper.bin"),
        byte_code("byte code alone", "other.pyc"),
        byte_code("optimised byte code", "other.PYO"),
        byte_code("a library", "helper.cpython-311-x86_64-linux-gnu.so"),
        byte_code("a library for every version", "helper.abi3.so"),
        byte_code("a library of another system", "helper.pyd"),
        byte_code("an egg", "helper-1.0.egg"),
        byte_code("a wheel", "helper-1.0-py3-none-any.whl"),
        byte_code("an application", "helper.pyz"),
        byte_code("an archive", "lib.ZIP"),
        byte_code("a library with its version", "libhelper.so.6"),
        Case::file("byte code under another name", "model.dat", b"\xa7\r\r\n\0\0\0\0")
            .refused(UNREADABLE),
        Case::file("a library under another name", "weights.bin", b"\x7fELF\x02\x01")
            .refused(UNREADABLE),
        Case::file("code in an archive under another name", "cases.csv", archive_of("helper.py"))
            .refused("which Python could import and nobody is shown"),
        Case::program("byte code as the program", b"").called("p.pyc").refused(UNREADABLE),
        Case::file("an encoding in a helper", "helper.py", b"# coding: unicode_escape\n")
            .refused("would be read in another way"),
        Case::file("a byte order mark in a list of paths", "x.pth", b"\xef\xbb\xbfimport os\n")
            .refused("byte order mark"),
        Case::file("a helper in UTF-16", "pkg/helper.py", b"\xff\xfex\0")
            .refused("save it as UTF-8"),
    ]
}

fn of_other_modules() -> Vec<Case> {
    vec![
        refused("what runs at every start", "sitecustomize.py", "that Python runs by itself"),
        refused("what runs at a user's start", "usercustomize.py", "that Python runs by itself"),
        refused("the same as a package", "usercustomize/__init__.py", "that Python runs by itself"),
        refused("another source of randomness", "random.py", TAKEN),
        refused("another source of secrets", "secrets.py", TAKEN),
        refused("another json", "json/__init__.py", TAKEN),
        refused("another set of encodings", "encodings/rot13.py", TAKEN),
        refused("another MPyC", "mpyc/runtime.py", TAKEN),
        refused("another numpy", "numpy.py", TAKEN),
        refused("a numpy where there is none", "numpy/cases.csv", TAKEN),
        Case::program("a program in place of a module", PLAIN)
            .called("statistics.py")
            .refused(TAKEN),
        refused("a helper that differs in case", "P.py", "in upper and lower case alone"),
        Case::file("a package before a module", "helper.py", SHARE)
            .with("helper/__init__.py", b"def share(): return 2\n")
            .refused("are one module to Python"),
    ]
}

fn of_places() -> Vec<Case> {
    vec![
        refused("a way upwards", "../helper.py", NO_NAME),
        refused("a way upwards from below", "a/../../helper.py", NO_NAME),
        refused("a place of its own", "/session/helper.py", NO_NAME),
        refused("a way around", "a/./helper.py", NO_NAME),
        refused("a separator of another system", "a\\helper.py", NO_NAME),
        refused("a name that turns around", "yp.\u{202e}data", NO_NAME),
        refused("a name with nothing in it", "hel\u{200b}per.py", NO_NAME),
        refused("a name of two lines", "helper.py\nother.py", NO_NAME),
        refused("a blank that is none", "helper\u{a0}.py", NO_NAME),
        Case::program("a program below", PLAIN).called("a/p.py").refused("lies in a directory"),
        refused("a file in a file", "p.py/helper.py", "is a file and a directory"),
    ]
}

fn shown() -> Vec<Case> {
    let data = |tries, name, content: Vec<u8>| {
        Case::file(tries, name, content)
            .shown(["Data that it can read", "may take\n  data for code"])
    };
    vec![
        Case::file("an archive under another name", "cases.csv", archive())
            .shown(["Careful: this is an archive, from which Python can import"]),
        Case::file("a library of Windows", "weights.bin", b"MZ\x90\0")
            .shown(["Careful: this is machine code"]),
        Case::file("a pickle", "model.dat", b"\x80\x04K\x01.")
            .shown(["Careful: this is a pickle: to load it can run code"]),
        Case::file("an array of objects", "model.npy", b"\x93NUMPY\x01\0\x76\0{'descr': '|O'}\n")
            .shown(["Careful: this is an array of Python objects"]),
        Case::file("what the debugger does first", ".pdbrc", b"import helper\n")
            .shown(["Code that it can import: .pdbrc", "  | import helper\n"]),
        data("a text to be run", "plugin.txt", b"import os\n".to_vec()),
        Case::file("paths to import from", "x.pth", b"import helper\n")
            .shown(["  | import helper\n"]),
        Case::file("the start of an environment", "pyvenv.cfg", b"home = /tmp\n")
            .shown(["pyvenv.cfg, 12 bytes", "  | home = /tmp\n"]),
        Case::file("the paths of an interpreter", "python312._pth", b"import site\n")
            .shown(["  | import site\n"]),
        Case::file("another main program", "__main__.py", b"x = 1\n")
            .shown(["Code that it can import: __main__.py", "  | x = 1\n"]),
        Case::file("a module without a package", "pkg/part.py", b"x = 1\n")
            .shown(["Python imports it as: pkg.part\n", "  | x = 1\n"]),
        Case::file("another spelling of the ending", "HELPER.PY", b"x = 1\n")
            .shown(["Code that it can import: HELPER.PY", "  | x = 1\n"]),
        Case::file("a name like an option", "-c.py", b"x = 1\n").shown(["-c.py, 6 bytes"]),
        Case::file("a name that says its size", "a.py, 9 bytes", b"x = 1\n")
            .shown(["  \"a.py, 9 bytes\", 6 bytes"]),
        Case::file("a name of letters that look alike", "h\u{435}lper.py", SHARE)
            .shown(["has characters outside ASCII: h⟨U+0435⟩lper.py"]),
        Case::program("a program that is called a text", "x = 1\n")
            .called("read.me")
            .shown(["  | x = 1\n"]),
    ]
}
