//! Options of MPyC that a session may have: an allow-list, since MPyC's parser takes abbreviations,
//! lets the last of two count, and has options that undo what the session settles.
//!
//! Two of them decide how well secrets are hidden. Comparisons, conversions and truncations open a
//! secret under a random mask of `-L` plus `-K` bits (`lsb` and its like in MPyC's `runtime.py`, after
//! Schoenmakers and Tuyls 2006). Of a secret of `-L` bits that mask lets through 2**-`-K`, and more of a
//! longer one. So neither the security parameter nor the mask may be shorter than MPyC's own.

/// MPyC's security parameter in bits, where no option gives one.
pub const DEFAULT_SECURITY_BITS: u32 = 30;
/// MPyC's bit length of secret numbers, where no option gives one.
pub const DEFAULT_BIT_LENGTH: u32 = 32;
/// The bits that a number may have at most: MPyC looks for a prime of so many.
const MAX_BITS: u32 = 1 << 14;
/// The most threads that a party may use beside its first.
const MAX_WORKERS: u32 = 1 << 10;
/// So many characters of an option are shown.
const MAX_SHOWN_CHARS: usize = 40;

/// Options that are allowed and take no value.
const FLAGS: [&str; 7] = [
    "--no-prss",
    "--no-numpy",
    "--no-gmpy2",
    "--no-uvloop",
    "--mix32-64bit",
    "--no-barrier",
    "--no-log",
];
/// The levels at which MPyC logs.
const LOG_LEVELS: [&str; 4] = ["debug", "info", "warning", "error"];

/// An option that is allowed and takes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Security,
    BitLength,
    Workers,
}

/// Short and long name of each, with the least and the largest number.
const NUMBERS: [(Number, &str, &str, u32, u32); 3] = [
    (Number::Security, "-K", "--sec-param", 1, MAX_BITS),
    (Number::BitLength, "-L", "--bit-length", 1, MAX_BITS),
    (Number::Workers, "-W", "--workers", 0, MAX_WORKERS),
];

/// Options of what the session settles: the short and the long name, and where it is settled.
const SETTLED: [(&str, &str, &str); 8] = [
    ("-T", "--threshold", "the session's «threshold» says that"),
    ("-I", "--index", "the position among «parties» says that"),
    ("-P", "--parties", "«parties» says that"),
    ("-M", "--M", "«parties» says that"),
    ("-C", "--config", "«parties» says that"),
    ("-B", "--base-port", "MPyC has no ports here"),
    ("--ssl", "--ssl", "all connections are encrypted anyhow"),
    // MPyC then runs each coroutine to its end at once (`mpc_coro` in its `asyncoro.py`), so that a value
    // of another party, which is still on its way, is none.
    (
        "--no-async",
        "--no-async",
        "MPyC then waits for no other party, so it works for one party alone",
    ),
];

/// Why an option of MPyC cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// It is not in the list.
    #[error(
        "«{option}» is none of the options of MPyC that a session may have: {}, --log-level LEVEL, -K BITS, \
         -L BITS, -W THREADS. None is abbreviated; what is for the program goes into «arguments»",
        FLAGS.join(", ")
    )]
    Unknown {
        /// What is written, made safe to show.
        option: String,
    },
    /// The session has a setting of its own for it.
    #[error("the option «{option}» of MPyC is refused: {instead}")]
    Settled {
        /// What is written, made safe to show.
        option: String,
        /// Where it is settled.
        instead: &'static str,
    },
    /// Its number is none, or out of bounds.
    #[error(
        "the option {option} of MPyC needs a number from {least} to {most}, as in «{option} {least}»"
    )]
    Number {
        /// Its name.
        option: &'static str,
        /// The least number.
        least: u32,
        /// The largest number.
        most: u32,
    },
    /// Its level is none.
    #[error("the option --log-level of MPyC needs a level: {}", LOG_LEVELS.join(", "))]
    LogLevel,
}

/// What the options of a session say of how well MPyC hides secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masking {
    /// MPyC's security parameter in bits.
    pub security_bits: u32,
    /// The bit length of secret numbers that the program gives none.
    pub bit_length: u32,
}

impl Default for Masking {
    fn default() -> Self {
        Self { security_bits: DEFAULT_SECURITY_BITS, bit_length: DEFAULT_BIT_LENGTH }
    }
}

impl Masking {
    /// Checks that `options` are allowed; what they say.
    ///
    /// # Errors
    /// The first that is not, and what to do.
    pub fn of(options: &[String]) -> Result<Self, OptionError> {
        let (mut masking, mut rest) = (Self::default(), options.iter().map(String::as_str));
        while let Some(option) = rest.next() {
            if FLAGS.contains(&option) {
                continue;
            }
            if let Some(level) = value_of(option, "--log-level", &mut rest) {
                let known = level.is_some_and(|level| LOG_LEVELS.contains(&level));
                if known { continue } else { return Err(OptionError::LogLevel) }
            }
            match number(option, &mut rest)? {
                (Number::Security, bits) => masking.security_bits = bits,
                (Number::BitLength, bits) => masking.bit_length = bits,
                (Number::Workers, _) => {}
            }
        }
        Ok(masking)
    }

    /// Whether secrets are hidden as well as by MPyC's defaults.
    #[must_use]
    pub fn hides(self) -> bool {
        let mask_bits = self.security_bits + self.bit_length;
        self.security_bits >= DEFAULT_SECURITY_BITS
            && mask_bits >= DEFAULT_SECURITY_BITS + DEFAULT_BIT_LENGTH
    }
}

/// The option with a number that `option` is, and its number.
fn number<'a>(
    option: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<(Number, u32), OptionError> {
    for (which, short, long, least, most) in NUMBERS {
        // A short name and its value may be one word, and MPyC's parser takes an «=» between them.
        let joined = option.strip_prefix(short).filter(|joined| !joined.is_empty());
        let value = match joined {
            Some(joined) => Some(joined.strip_prefix('=').or(Some(joined))),
            None if option == short => Some(rest.next()),
            None => value_of(option, long, rest),
        };
        let Some(value) = value else { continue };
        let refused = OptionError::Number { option: short, least, most };
        let digits = value.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        let number = number.filter(|number| (least..=most).contains(number));
        return Ok((which, number.ok_or(refused)?));
    }
    Err(refused(option))
}

/// The value of the option `long`, where `option` is that: after an «=», or the next word of `rest`;
/// none of the two where the value is missing.
fn value_of<'a>(
    option: &'a str,
    long: &str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Option<Option<&'a str>> {
    match option.strip_prefix(long)? {
        "" => Some(rest.next()),
        value => value.strip_prefix('=').map(Some),
    }
}

/// Says why `option` is not allowed: as what MPyC would take it, where the session settles that.
fn refused(option: &str) -> OptionError {
    let shown: String = option.escape_debug().take(MAX_SHOWN_CHARS).collect();
    let word = option.split('=').next().unwrap_or(option);
    let is_meant = |(short, long, _): &&(&str, &str, &str)| {
        // Several begin with «--no-».
        let abbreviated = word.len() > 2 && long.starts_with(word) && !"--no-".starts_with(word);
        abbreviated || (short.len() == 2 && option.starts_with(*short))
    };
    match SETTLED.iter().find(is_meant) {
        Some((_, _, instead)) => OptionError::Settled { option: shown, instead },
        None => OptionError::Unknown { option: shown },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<Masking, OptionError> {
        Masking::of(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_of_the_list_is_taken_as_mpyc_takes_it() {
        let usual = Masking::default();
        for flag in FLAGS {
            assert_eq!(read(&[flag]), Ok(usual));
        }
        for level in LOG_LEVELS {
            assert_eq!(read(&["--log-level", level]), Ok(usual));
            assert_eq!(read(&[&format!("--log-level={level}")]), Ok(usual));
        }
        for spelt in
            [&["-K", "40"][..], &["-K40"], &["-K=40"], &["--sec-param", "40"], &["--sec-param=40"]]
        {
            assert_eq!(read(spelt), Ok(Masking { security_bits: 40, ..usual }), "{spelt:?}");
        }
        for spelt in [
            &["-L", "24"][..],
            &["-L24"],
            &["-L=24"],
            &["--bit-length", "24"],
            &["--bit-length=24"],
        ] {
            assert_eq!(read(spelt), Ok(Masking { bit_length: 24, ..usual }), "{spelt:?}");
        }
        assert_eq!(read(&["-W", "0", "-W4", "--workers=2", "--no-log", "-K30"]), Ok(usual));
        // The last counts, as for MPyC.
        assert_eq!(read(&["-K", "40", "-K1"]), Ok(Masking { security_bits: 1, ..usual }));
    }

    #[test]
    fn what_is_settled_is_refused_and_says_where() {
        for (option, said) in [
            ("-T0", "threshold"),
            ("-T", "threshold"),
            ("-T=0", "threshold"),
            ("--thres", "threshold"),
            ("--threshold=0", "threshold"),
            ("-I", "parties"),
            ("-I2", "parties"),
            ("--ind", "parties"),
            ("-Pevil:1", "parties"),
            ("-M3", "parties"),
            ("--config=x", "parties"),
            ("-B11365", "no ports"),
            ("--base", "no ports"),
            ("--ssl", "encrypted"),
            ("--no-async", "one party alone"),
        ] {
            let error = read(&[option, "0"]).unwrap_err();
            assert!(matches!(error, OptionError::Settled { .. }), "{option}: {error}");
            assert!(error.to_string().contains(said), "{option}: {error}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        for bad in [
            "",
            "-",
            "--",
            "x",
            "-h",
            "--help",
            "-V",
            "-H",
            "-f",
            "--no",
            "--no-pr",
            "--no-prss=1",
            "--NO-PRSS",
            " --no-prss",
            "--no-prss ",
            "--mix",
            "--sec",
            "--sec-para=30",
            "--bit=40",
            "--work=1",
            "--log",
            "--output-file",
            "--output-windows",
            "-k30",
            "--no-\u{1b}[2J",
        ] {
            let error = read(&[bad]).unwrap_err();
            assert!(matches!(error, OptionError::Unknown { .. }), "{bad:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        }
        for bad in [
            &["-K"][..],
            &["-K", ""],
            &["-K="],
            &["-K", "-1"],
            &["-K-1"],
            &["-K", "+40"],
            &["-K", " 40"],
            &["-K", "4_0"],
            &["-K", "0x40"],
            &["-K", "\u{664}\u{660}"],
            &["-K", "0"],
            &["-K99999999999"],
            &["--sec-param"],
            &["--sec-param="],
            &["-K", "--no-prss"],
            &["-L0"],
            &["-W", "9999"],
        ] {
            let error = read(bad).unwrap_err();
            assert!(matches!(error, OptionError::Number { .. }), "{bad:?}: {error}");
        }
        for bad in [
            &["--log-level"][..],
            &["--log-level", ""],
            &["--log-level=d"],
            &["--log-level", "-K1"],
        ] {
            assert_eq!(read(bad), Err(OptionError::LogLevel), "{bad:?}");
        }
    }

    #[test]
    fn a_mask_that_is_shorter_than_the_usual_hides_too_little() {
        for (options, hides) in [
            (&[][..], true),
            (&["-K30"], true),
            (&["-K64", "-L64"], true),
            (&["-K1"], false),
            (&["-K29"], false),
            (&["-K29", "-L1000"], false),
            // A program's numbers have the length that its author had in mind: 32 bits.
            (&["-L2"], false),
            (&["-L31"], false),
            (&["-L24", "-K38"], true),
            (&["-K40", "-K1"], false),
        ] {
            assert_eq!(read(options).unwrap().hides(), hides, "{options:?}");
        }
    }
}
