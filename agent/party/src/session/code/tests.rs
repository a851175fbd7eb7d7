use super::*;

fn names(program: &str, others: &[&str]) -> Result<(), CodeError> {
    check_names(program, std::iter::once(program).chain(others.iter().copied()))
}

#[test]
fn names_that_mean_what_they_say_pass() {
    let fine = [
        "helper.py",
        "pkg/__init__.py",
        "pkg/random.py",
        "data/json.csv",
        "json/cases.csv",
        "random",
        "séance.py",
        "a.npz",
        "random.csv",
        "__main__.py",
        "mpyc",
        "helper/table.csv",
    ];
    assert_eq!(names("p.py", &fine), Ok(()));
    assert_eq!(names("santa", &[]), Ok(()));
}

#[test]
fn names_that_python_takes_for_something_else_are_refused() {
    for unreadable in [
        "helper.pyc",
        "__pycache__/helper.cpython-311.pyc",
        "a/__PyCache__/x.csv",
        "x.PYC",
        "x.so",
        "x.cpython-311-x86_64-linux-gnu.so",
        "x.abi3.so",
        "libx.so.6",
        "libx.so.1.2.3",
        "x.so.",
        "x.pyd",
        "x.egg",
        "a/x.whl",
        "x.pyz",
        "x.Zip",
    ] {
        let refused = names("p.py", &[unreadable]);
        assert!(matches!(refused, Err(CodeError::Unreadable { .. })), "{unreadable}: {refused:?}");
    }
    for hook in
        ["sitecustomize.py", "usercustomize/__init__.py", "a/sitecustomize.py", "SiteCustomize"]
    {
        let refused = names("p.py", &[hook]);
        assert!(matches!(refused, Err(CodeError::SiteHook { .. })), "{hook}: {refused:?}");
    }
    for taken in ["random.py", "json/__init__.py", "mpyc/runtime.py", "numpy.py", "numpy/x.csv"] {
        let refused = names("p.py", &[taken]);
        assert!(matches!(refused, Err(CodeError::Shadows { .. })), "{taken}: {refused:?}");
        assert!(taken.contains('/') || names(taken, &[]).is_err(), "{taken} as the program");
    }
}

#[test]
fn two_files_are_not_one_module() {
    assert!(matches!(names("p.py", &["P.py"]), Err(CodeError::Alike { .. })));
    assert!(matches!(names("p.py", &["a/x", "A/X"]), Err(CodeError::Alike { .. })));
    let two = names("p.py", &["helper.py", "helper/__init__.py"]);
    assert!(matches!(two, Err(CodeError::TwoModules { .. })), "{two:?}");
}

#[test]
fn a_module_is_known_by_its_name() {
    let named = |name| module(name).unwrap_or_default();
    assert_eq!(named("helper.py"), "helper");
    assert_eq!(named("a/b.py"), "a.b");
    assert_eq!(named("a/b/__init__.py"), "a.b");
    for none in ["a.b.py", "data.csv", "x.pth", "santa"] {
        assert_eq!(module(none), None, "{none}");
    }
}

fn content(text: &[u8]) -> Result<(), CodeError> {
    check_content("p.py", true, text)
}

#[test]
fn plain_text_passes() {
    for fine in [
        "print('é語')\n",
        "a\r\nb\r\n",
        "\tx",
        "",
        "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n",
        "# vim: set fileencoding=UTF_8 :\n",
        "\"\"\"Encoding: base64\"\"\"\n",
        "#\n#\n# coding: latin-1 is of no concern here\n",
        "# encoding:\n# coding = x\n",
    ] {
        assert_eq!(content(fine.as_bytes()), Ok(()), "{fine:?}");
    }
    assert_eq!(check_content("table.csv", false, b"\xff\0\r"), Ok(()));
}

#[test]
fn what_python_reads_in_another_way_is_refused() {
    for (text, line) in [
        (&b"# coding: unicode_escape\n"[..], 1),
        (b"\n# -*- coding: utf-7 -*-\n", 2),
        (b"#!/usr/bin/python\r\n\t# vim: fileencoding=latin-1 :\r\n", 2),
        (b"# coding:utf-8 coding:rot13", 1),
        (b"# coding: \xc3\xa9 coding: utf-16", 1),
        (b"# coding=utf-8-sig", 1),
    ] {
        let refused = content(text);
        let is_so = |e: &CodeError| matches!(e, CodeError::Encoding { line: l, .. } if *l == line);
        assert!(refused.as_ref().is_err_and(is_so), "{text:?}: {refused:?}");
    }
    for (text, line, character) in [
        (&b"x\ny\rz\n"[..], 2, '\r'),
        (b"\x0cx", 1, '\x0c'),
        (b"x\x0b", 1, '\x0b'),
        (b"x\n\0", 2, '\0'),
        (b"\r\r\n", 1, '\r'),
        (b"x\xc2\x85y", 1, '\u{85}'),
        (b"print()\0 in UTF-16", 1, '\0'),
    ] {
        let expected = CodeError::Control { name: "p.py".into(), line, character };
        assert_eq!(content(text), Err(expected), "{text:?}");
    }
    assert!(matches!(content(b"x\n\xff\xfe"), Err(CodeError::NotUtf8 { line: 2, .. })));
    assert!(matches!(content(b"\xef\xbb\xbfx"), Err(CodeError::ByteOrderMark { .. })));
}

#[test]
fn data_that_is_more_is_recognised() {
    assert_eq!(disguise(b"a,b\n1,2\n"), None);
    assert!(disguise(b"MZ\x90").is_some_and(|what| what.contains("machine")));
    for (pickle, expected) in [
        (&b"\x80\x04\x95\x0b\0\0\0\0\0\0\0K\x01."[..], true),
        (b"\x80\x02K\x01.", true),
        (b"\x80\x06K\x01.", false),
        (b"\x80\x04K\x01", false),
        (b"", false),
    ] {
        let said = disguise(pickle).is_some_and(|what| what.contains("a pickle"));
        assert_eq!(said, expected, "{pickle:?}");
    }
    for (kind, expected) in [("'|O'", true), ("[('a', 'O')]", true), ("'<f8'", false)] {
        let header = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': (3,), }} \n|O'O");
        let said = disguise(&[b"\x93NUMPY\x01\0\x76\0", header.as_bytes()].concat());
        assert_eq!(said.is_some_and(|what| what.contains("Python objects")), expected, "{kind}");
    }
    let zip = [&b"text before PK\x05\x06"[..], &[0; 18]].concat();
    assert!(disguise(&zip).is_some_and(|what| what.contains("archive")));
}

/// An archive as `zipfile` makes them, with empty files of these names.
fn archive(names: &[&str]) -> Vec<u8> {
    let mut directory = Vec::new();
    for name in names {
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        directory.extend([&b"PK\x01\x02"[..], &[0; 24], &length, &[0; 16]].concat());
        directory.extend(name.as_bytes());
    }
    [b"text before", &directory[..], b"PK\x05\x06", &[0; 18], b"a comment"].concat()
}

#[test]
fn data_that_is_code_is_refused_whatever_its_name() {
    let data = |content: &[u8]| check_content("table.csv", false, content);
    let what = |refused| match refused {
        Err(CodeError::Unreadable { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(data(b"\x7fELF\x02")), "machine code");
    // Of every version of Python, with a time, with a digest, with one that is checked.
    for code in [&b"\xa7\r\r\n\0\0\0\0"[..], b"\x2b\x0e\r\n\x03\0\0\0", b"\x70\x01\r\n\x01\0\0\0\0"]
    {
        assert_eq!(what(data(code)), "Python's byte code");
    }
    for fine in [&b"a,\r\n1,2\r\n"[..], b"a,\r\n", b"\0\0\r\n\x04\0\0\0", b""] {
        assert_eq!(data(fine), Ok(()));
    }
    for fine in [&["arr_0.npy", "arr_1.npy"][..], &["xl/worksheets/sheet1.xml", "xl/py"], &[]] {
        assert_eq!(data(&archive(fine)), Ok(()), "{fine:?}");
        assert!(disguise(&archive(fine)).is_some_and(|what| what.contains("archive")));
    }
    for member in ["helper.py", "pkg/__init__.PYC", "lib/libx.so.6", "inner.zip", "__main__.py"] {
        let expected = CodeError::InArchive { name: "table.csv".into(), member: member.to_owned() };
        assert_eq!(data(&archive(&["x.npy", member])), Err(expected), "{member}");
    }
}

#[test]
fn what_runs_by_its_name_is_shown_as_code() {
    for name in [".pdbrc", "a/.PDBRC", "pyvenv.cfg", "x.pth", "python311._pth"] {
        assert_eq!(kind(name, false), Kind::Code, "{name}");
    }
}

#[test]
fn a_long_name_in_an_archive_hides_no_code() {
    let member = format!("{}/{}.py", "d".repeat(40_000), "x".repeat(20_000));
    let refused = check_content("table.csv", false, &archive(&[&member]));
    assert!(matches!(refused, Err(CodeError::InArchive { .. })), "{refused:?}");
}
