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
    assert!(disguise(b"\x7fELF\x02").is_some_and(|what| what.contains("machine")));
    let zip = [&b"text before PK\x05\x06"[..], &[0; 18]].concat();
    assert!(disguise(&zip).is_some_and(|what| what.contains("archive")));
}
