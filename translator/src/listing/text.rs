//! Listings as plain text: guest and host side by side where the terminal is wide, one below the other
//! where it is narrow. It must not know what a terminal is.

use super::{HostLine, Line, Listing, Stage, WayIn, WayOut};

/// The least width at which two columns can be read.
const WIDE: usize = 136;
/// The width of the guest's column, if there are two.
const LEFT: usize = 72;
const GAP: &str = "  ";

/// The listing for a terminal of `width` columns.
pub fn text(listing: &Listing, stage: Stage, width: usize) -> String {
    let mut lines = vec![listing.title()];
    lines.extend(wrapped(&listing.summary(), width));
    for row in rows(listing, stage) {
        lines.extend(row.lines(width));
    }
    lines.join("\n") + "\n"
}

/// What belongs together: on the left the guest, on the right the host.
struct Row {
    left: Vec<String>,
    right: Vec<String>,
}

impl Row {
    fn lines(self, width: usize) -> Vec<String> {
        if width < WIDE {
            let indented = self.right.iter().map(|line| format!("{:20}{line}", ""));
            return self.left.iter().cloned().chain(indented).collect();
        }
        let height = self.left.len().max(self.right.len());
        let cell = |side: &[String], index: usize| side.get(index).cloned().unwrap_or_default();
        let line = |index| {
            let (left, right) = (cell(&self.left, index), cell(&self.right, index));
            // A long line on the left would push the right one away.
            let cut: String = left.chars().take(LEFT).collect();
            format!("{cut:LEFT$}{GAP}{right}").trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }
}

/// Parts joined with semicolons, in lines of at most `width` columns.
fn wrapped(parts: &[String], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts {
        let last = lines.last_mut().filter(|last| last.is_empty() || last.len() + part.len() + 2 <= width);
        match last {
            Some(last) if last.is_empty() => last.clone_from(part),
            Some(last) => *last = format!("{last}; {part}"),
            None => lines.push(part.clone()),
        }
    }
    lines
}

fn rows(listing: &Listing, stage: Stage) -> Vec<Row> {
    let mut rows: Vec<Row> = listing.ways_in.iter().map(way_in).collect();
    if stage.shows(Stage::Host) && !listing.entry.is_empty() {
        rows.push(Row { left: vec!["(entry)".into()], right: host(&listing.entry) });
    }
    rows.extend(listing.lines.iter().map(|line| row(line, stage)));
    let mut end = Row { left: Vec::new(), right: Vec::new() };
    if stage.shows(Stage::Ir) {
        end.left.push(format!("    {}", listing.last.ir));
    }
    if stage.shows(Stage::Host) {
        end.right = host(&listing.last.host);
    }
    rows.push(end);
    rows.extend(listing.ways_out.iter().map(|way| out(way, stage)));
    if stage.shows(Stage::Host) {
        for (name, lines) in [("(over budget)", &listing.over_budget), ("(dropped)", &listing.stale)] {
            if !lines.is_empty() {
                rows.push(Row { left: vec![name.to_owned()], right: host(lines) });
            }
        }
    }
    rows
}

fn row(line: &Line, stage: Stage) -> Row {
    let slot = if line.in_slot { "  (slot)" } else { "" };
    let address = line.address;
    let mut left = vec![format!("{address:016x}  {:08x}  {}{slot}", line.word, line.text)];
    if stage.shows(Stage::Decode) && !line.classes.is_empty() {
        left.push(format!("    {}", line.classes.join(" ").to_lowercase()));
    }
    let is_news = !line.plan.actions.is_empty() || stage == Stage::Plan;
    if stage.shows(Stage::Plan) && is_news {
        left.push(format!("    {}: {}", line.plan.kind, line.plan.reason));
        left.extend(line.plan.actions.iter().map(|action| format!("      {action}")));
    }
    if stage.shows(Stage::Plan) {
        left.extend(line.changes.iter().map(|change| format!("    * {change}")));
    }
    if stage.shows(Stage::Ir) {
        left.extend(line.ir.iter().map(|node| format!("    {node}")));
    }
    let mut right = Vec::new();
    if stage.shows(Stage::Host) {
        right = host(&line.host);
        right.extend(host(&line.slow).into_iter().map(|text| format!("  {text}")));
    }
    Row { left, right }
}

fn way_in(way: &WayIn) -> Row {
    let name = way.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    Row { left: vec![format!("<- {:016x}{name} (link, joined)", way.address)], right: Vec::new() }
}

fn out(way: &WayOut, stage: Stage) -> Row {
    let name = way.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let to = way.address.map_or("wherever a register says".to_owned(), |va| format!("{va:016x}{name}"));
    let kind = match (way.is_link, way.joined) {
        (false, _) => "by look-up",
        (true, None) => "link",
        (true, Some(true)) => "link, joined",
        (true, Some(false)) => "link, not joined",
    };
    let right = if stage.shows(Stage::Host) { host(&way.host) } else { Vec::new() };
    Row { left: vec![format!("-> {to} ({kind})")], right }
}

fn host(lines: &[HostLine]) -> Vec<String> {
    let label = |line: &HostLine| line.label.as_ref().map(|label| format!("{label}:"));
    lines.iter().flat_map(|line| label(line).into_iter().chain([format!("    {}", line.text)])).collect()
}
