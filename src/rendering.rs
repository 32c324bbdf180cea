//! How listings are shown: the choices on the command line, and the text for each. It must not know where listings
//! come from.

use std::path::Path;

use clap::ValueEnum;
use rustix::termios::tcgetwinsize;
use translator::listing::{self, Listing, Stage};

/// The width of a file, and of a terminal that does not say its own.
const USUAL_WIDTH: usize = 150;

/// A form of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for a terminal
    Text,
    /// An array with every part of every block
    Json,
    /// A page with the blocks as a control-flow graph
    Html,
}

impl Format {
    /// The form that the name of a file asks for.
    pub fn of_file(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("html" | "htm") => Self::Html,
            _ => Self::Text,
        }
    }
}

/// A stage of translation, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageChoice {
    /// The instructions and their classes
    Decode,
    /// What replaces each instruction, and why
    Plan,
    /// The intermediate representation
    Ir,
    /// The host code
    Host,
    /// All of these
    All,
}

impl From<StageChoice> for Stage {
    fn from(choice: StageChoice) -> Self {
        match choice {
            StageChoice::Decode => Self::Decode,
            StageChoice::Plan => Self::Plan,
            StageChoice::Ir => Self::Ir,
            StageChoice::Host => Self::Host,
            StageChoice::All => Self::All,
        }
    }
}

/// The listings in `format`. `title` says what was listed.
pub fn render(title: &str, listings: &[Listing], stage: Stage, format: Format, width: usize) -> String {
    match format {
        Format::Json => Listing::json(listings),
        Format::Html => listing::html(title, listings, stage),
        Format::Text => {
            let blocks: Vec<String> = listings.iter().map(|one| listing::text(one, stage, width)).collect();
            blocks.join("\n")
        }
    }
}

/// The columns of the terminal on standard output, or of a file.
pub fn width() -> usize {
    let size = tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0);
    size.map_or(USUAL_WIDTH, |size| usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_form() {
        let forms = [("a.json", Format::Json), ("b.c.html", Format::Html), ("c", Format::Text)];
        for (name, format) in forms {
            assert_eq!(Format::of_file(Path::new(name)), format);
        }
    }
}
