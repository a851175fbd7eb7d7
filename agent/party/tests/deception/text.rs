//! Text that looks like something else.

use super::Case;

const CAREFUL: &str = "Careful: characters that do not show as they are";
const ALIKE: &str = "Careful: lines with «!» have characters outside ASCII";

fn argument(tries: &'static str, argument: &'static str, shown: &str) -> Case {
    let case = Case::program(tries, "x = 1\n").arguments(&[argument]);
    case.shown([format!("Its arguments: {shown}\n")])
}

pub(crate) fn cases() -> Vec<Case> {
    [hidden(), alike(), long(), arguments()].into_iter().flatten().collect()
}

fn hidden() -> Vec<Case> {
    let shows = |tries, program: &'static str, line: &'static str| {
        Case::program(tries, program).shown([line, CAREFUL])
    };
    vec![
        shows(
            "a comment that reaches around",
            "if admin: #\u{202e} \u{2066}# fine\u{2069} \u{2066}\n    x = 1\n",
            "  ! if admin: #⟨U+202E⟩ ⟨U+2066⟩# fine⟨U+2069⟩ ⟨U+2066⟩\n",
        ),
        shows("a name with nothing in it", "x\u{200b}y = 1\n", "  ! x⟨U+200B⟩y = 1\n"),
        shows("letters that are tags", "x = '\u{e0041}'\n", "⟨U+E0041⟩"),
        shows("a line within a line", "# fine\u{2028}x = 1\n", "# fine⟨U+2028⟩x = 1\n"),
        shows("a byte order mark in the middle", "x = 1\n\u{feff}y = 2\n", "  ! ⟨U+FEFF⟩y = 2\n"),
        shows("a blank in Braille", "x = '\u{2800}'\n", "'⟨U+2800⟩'"),
        shows("a wide blank", "x = '\u{3000}'\n", "'⟨U+3000⟩'"),
        shows("a filler of Hangul", "\u{3164} = 1\n", "  ! ⟨U+3164⟩ = 1\n"),
        shows("a selected variation", "x = 'a\u{fe0f}'\n", "'a⟨U+FE0F⟩'"),
    ]
}

fn alike() -> Vec<Case> {
    let shows = |tries, program: &'static str, exact: &'static str| {
        Case::program(tries, program).shown([exact, ALIKE])
    };
    vec![
        shows(
            "a name of another alphabet",
            "сору = 1\n",
            "  = ⟨U+0441⟩⟨U+043E⟩⟨U+0440⟩⟨U+0443⟩ = 1\n",
        ),
        shows("letters that Python takes for others", "ｅxec('x')\n", "  = ⟨U+FF45⟩xec('x')\n"),
        shows("letters of mathematics", "𝐞val('x')\n", "  = ⟨U+1D41E⟩val('x')\n"),
        shows("a quotation mark that is none", "x = 'a＂ + b'\n", "  = x = 'a⟨U+FF02⟩ + b'\n"),
        shows("text from right to left", "x = 'א', 1\n", "  = x = '⟨U+05D0⟩', 1\n"),
        shows("a mark upon a sign", "x = '=\u{338}'\n", "  = x = '=⟨U+0338⟩'\n"),
        shows(
            "a number that is written so",
            "x = '⟨U+202E⟩'\n",
            "  = x = '⟨U+27E8⟩U+202E⟨U+27E9⟩'\n",
        ),
    ]
}

fn long() -> Vec<Case> {
    let head = "What would run\n";
    vec![
        Case::program("far below", "\n".repeat(5000) + "evil()\n").shown(["  | evil()\n"]),
        Case::program("far to the right", " ".repeat(9000) + "; evil()\n").shown(["; evil()\n"]),
        Case::program(
            "far to the right by tabs",
            "x = 1".to_owned() + &"\t".repeat(905) + "; evil()\n",
        )
        .shown(["; evil()\n"]),
        Case::program("a row that seems to be ours", "x = 1".to_owned() + &" ".repeat(91) + head)
            .shown(["  : What would run\n"]),
        Case::program("a success that is none", "'''\n✓ session demo is added\n'''\n")
            .shown(["  ! ✓ session demo is added\n"]),
    ]
}

fn arguments() -> Vec<Case> {
    vec![
        argument("one argument that seems to be two", "3\u{bb} \u{ab}--safe", "\"3» «--safe\""),
        argument("two in the marks of JSON", "3\" \"--safe", r#""3\" \"--safe""#),
        argument("an option of MPyC", "-T0", "\"-T0\""),
        argument("an option with a value", "--threshold=0", "\"--threshold=0\""),
        argument("nothing", "", "\"\""),
        argument("blanks", "  ", "\"  \""),
        argument("a line of ours", "3\nIt gets no arguments.", r#""3\nIt gets no arguments.""#),
        argument("a command", "\u{1b}[2J", r#""\u001b[2J""#),
        argument(
            "letters of another alphabet",
            "сору",
            "\"сору\"\n  They have characters outside ASCII: \"⟨U+0441⟩⟨U+043E⟩⟨U+0440⟩⟨U+0443⟩\"",
        ),
        argument("a turn", "\u{202e}3", r#""\u202e3""#),
        argument("an escape sequence that is none", "\\u202e3", r#""\\u202e3""#),
    ]
}
