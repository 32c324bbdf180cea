//! Configuration files: lines of `parameter=value`. It must not know what the parameters do.

use std::path::{Path, PathBuf};

use crate::exit::Refused;

const SLICE: &str = "vm_exec_slice_in_instructions";
const BINARY: &str = "vm_binary";

/// What a configuration says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Instructions of a slice.
    pub slice: Option<u64>,
    /// The programs.
    pub binaries: Vec<PathBuf>,
}

/// Reads a slice: a number of instructions, at least one.
///
/// # Errors
/// Refuses everything else.
pub fn slice(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("a slice has at least one instruction".into()),
        Ok(slice) if slice <= i64::MAX as u64 => Ok(slice),
        _ => Err(format!("`{text}` is no number of instructions")),
    }
}

/// Reads the configuration in the file `path`.
///
/// # Errors
/// Refuses files that cannot be read or say anything else.
pub fn read(path: &Path) -> Result<Config, Refused> {
    let bytes = super::load::read(path)?;
    let not_text = |_| Refused(format!("{}: the file is not text", path.display()));
    let text = String::from_utf8(bytes).map_err(not_text)?;
    parse(path, &text)
}

/// Whether every line is a parameter, a comment or empty, and there is a parameter.
pub fn is_config(text: &str) -> bool {
    let mut lines = meaningful(text).peekable();
    let is_name = |name: &str| {
        let mut characters = name.trim().chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    lines.peek().is_some()
        && lines.all(|(_, line)| line.split_once('=').is_some_and(|(name, _)| is_name(name)))
}

/// Lines with their numbers, without comments and empty ones.
fn meaningful(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let stripped = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    stripped.enumerate().filter(|(_, line)| !line.is_empty()).map(|(index, line)| (index + 1, line))
}

/// Reads the configuration `text` of the file `path`, which relative paths are relative to.
///
/// # Errors
/// Refuses unknown parameters and senseless values, and says where.
pub fn parse(path: &Path, text: &str) -> Result<Config, Refused> {
    let mut config = Config::default();
    for (number, line) in meaningful(text) {
        let refused = |what: String| Refused(format!("{}:{number}: {what}", path.display()));
        let Some((name, value)) = line.split_once('=') else {
            return Err(refused(format!("`{line}` is not of the form parameter=value")));
        };
        match (name.trim(), value.trim()) {
            (BINARY, "") => return Err(refused(format!("{BINARY} needs the path of a program"))),
            (BINARY, value) => {
                config.binaries.push(path.parent().unwrap_or(Path::new("")).join(value));
            }
            (SLICE, value) => {
                let slice = slice(value).map_err(|what| refused(format!("{SLICE}: {what}")))?;
                if config.slice.replace(slice).is_some() {
                    return Err(refused(format!("{SLICE} is set twice")));
                }
            }
            (name, _) => {
                return Err(refused(format!(
                    "there is no parameter `{name}`; there are {SLICE} and {BINARY}"
                )));
            }
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use fuzzing::Corpus;

    use super::*;

    #[test]
    fn parameters_comments_and_relative_paths() {
        let text =
            "# two programs\nvm_exec_slice_in_instructions=100\n\nvm_binary = a.s # first\nvm_binary=/b.s\n";
        let config = parse(Path::new("some/where.conf"), text).unwrap();
        assert_eq!(config.slice, Some(100));
        assert_eq!(config.binaries, [PathBuf::from("some/a.s"), PathBuf::from("/b.s")]);
        assert!(is_config(text));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            ("vm_binary=a.s\nvm_slice=3", ":2: there is no parameter `vm_slice`"),
            (
                "vm_exec_slice_in_instructions=0",
                ":1: vm_exec_slice_in_instructions: a slice has at least one",
            ),
            ("vm_exec_slice_in_instructions=ten", "`ten` is no number"),
            ("vm_binary=", "needs the path"),
            ("vm_binary", "not of the form"),
        ];
        for (text, words) in cases {
            let error = parse(Path::new("x"), text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    /// What is nearly a configuration is read or refused with its line, and what is read is one.
    #[test]
    fn fuzz_configuration() {
        let corpus = Corpus::new([
            "# two programs\nvm_exec_slice_in_instructions=100\n\nvm_binary = a.s # first\nvm_binary=/b.s\n",
            "vm_binary=../c.elf\r\nvm_exec_slice_in_instructions = 9223372036854775807\r\n",
        ]);
        let corpus =
            corpus.with_words([SLICE, BINARY, "=", "#", "\n", "-1", "99999999999999999999", "\u{e9}"]);
        fuzzing::run(|numbers| {
            let text = corpus.text(numbers);
            match parse(Path::new("x"), &text) {
                Ok(config) => {
                    assert!(
                        config.slice != Some(0) && config.binaries.iter().all(|file| file != ""),
                        "{text:?}"
                    );
                    assert!(is_config(&text) || config == Config::default(), "{text:?}");
                }
                Err(Refused(error)) => assert!(error.starts_with("x:"), "{text:?}: {error}"),
            }
        });
    }

    #[test]
    fn programs_are_no_configurations() {
        for text in ["main: li $v0, 10", "", "# nothing", "x = 5\nmain: syscall", ".eqv A = 1"] {
            assert!(!is_config(text), "{text}");
        }
    }
}
