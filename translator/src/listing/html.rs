//! Listings as one HTML page that needs nothing else: the blocks as a control-flow graph, and below it
//! every stage of each. It must not know how files are written.

use std::fmt::Write as _;

use super::graph::{Cell, Graph};
use super::{HostLine, Line, Listing, Stage};

const STYLE: &str = include_str!("page.css");
/// The size of a box, and the room around it.
const BOX: (usize, usize) = (250, 64);
const ROOM: (usize, usize) = (60, 56);

/// The page. `title` says what was listed.
pub fn html(title: &str, listings: &[Listing], stage: Stage) -> String {
    let title = escaped(title);
    let graph = drawing(listings);
    let blocks: String = listings.iter().enumerate().map(|(index, one)| block(index, one, stage)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{graph}{blocks}</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The graph as SVG. A box leads to the block's listing.
fn drawing(listings: &[Listing]) -> String {
    let graph = Graph::new(listings);
    let size = graph.size();
    let (width, height) = (size.column * (BOX.0 + ROOM.0) + ROOM.0, size.row * (BOX.1 + ROOM.1) + ROOM.1);
    let mut svg = format!(
        "<div class=\"graph\"><svg width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>Control flow</title>\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
         markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n"
    );
    for (from, to) in &graph.edges {
        svg.push_str(&arrow(graph.cells[*from], graph.cells[*to]));
    }
    for (index, (listing, cell)) in listings.iter().zip(&graph.cells).enumerate() {
        svg.push_str(&node(index, listing, *cell));
    }
    svg + "</svg></div>\n"
}

/// The upper left corner of a box.
fn corner(cell: Cell) -> (usize, usize) {
    (ROOM.0 + cell.column * (BOX.0 + ROOM.0), ROOM.1 / 2 + cell.row * (BOX.1 + ROOM.1))
}

/// Down from the bottom of one box to the top of another; a way back goes around on the left.
fn arrow(from: Cell, to: Cell) -> String {
    let ((x1, y1), (x2, y2)) = (corner(from), corner(to));
    if to.row > from.row {
        let (x1, y1, x2) = (x1 + BOX.0 / 2, y1 + BOX.1, x2 + BOX.0 / 2);
        let middle = (y1 + y2) / 2;
        return format!("<path class=\"edge\" d=\"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}\"/>\n");
    }
    let (y1, y2, out) = (y1 + BOX.1 / 2 + 8, y2 + BOX.1 / 2 - 8, x1.min(x2) - ROOM.0 / 2);
    format!("<path class=\"edge back\" d=\"M{x1} {y1}C{out} {y1} {out} {y2} {x2} {y2}\"/>\n")
}

fn node(index: usize, listing: &Listing, cell: Cell) -> String {
    let (x, y) = corner(cell);
    let (width, height) = BOX;
    let name = listing.name.clone().unwrap_or_else(|| format!("{:#x}", listing.address));
    let short: String = name.chars().take(34).collect();
    let sizes = listing.sizes;
    let size =
        format!("{} guest, {} host instructions", sizes.guest_instructions, sizes.straight_instructions);
    let runs = listing.runs.map(|runs| format!("entered {} times", runs.executions));
    let mut text = String::new();
    for (line, words) in [short, size, runs.unwrap_or_default()].into_iter().enumerate() {
        let (x, y) = (x + 10, y + 20 + 17 * line);
        // Writing to a string cannot fail.
        let _ = write!(text, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(&words));
    }
    format!(
        "<a href=\"#block{index}\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
         rx=\"6\"/>{text}</a>\n"
    )
}

fn block(index: usize, listing: &Listing, stage: Stage) -> String {
    let mut rows = String::new();
    if !listing.ways_in.is_empty() {
        let from = listing.ways_in.iter().map(|way| named(way.name.as_ref(), way.address));
        rows.push_str(&row_of_words(&format!("joined links from {}", from.collect::<Vec<_>>().join(", "))));
    }
    if stage.shows(Stage::Host) && !listing.entry.is_empty() {
        rows.push_str(&part("entry", &listing.entry));
    }
    for line in &listing.lines {
        rows.push_str(&row(line, stage));
    }
    if stage.shows(Stage::Host) {
        rows.push_str(&part(&listing.last.ir, &listing.last.host));
        for way in listing.ways_out.iter().filter(|way| way.is_link) {
            let to = named(way.name.as_ref(), way.address.unwrap_or(0));
            let state = if way.joined == Some(true) { "joined link to" } else { "link to" };
            rows.push_str(&part(&format!("{state} {to}"), &way.host));
        }
        rows.push_str(&part("over budget", &listing.over_budget));
        rows.push_str(&part("dropped", &listing.stale));
    }
    format!(
        "<section id=\"block{index}\"><h2>{}</h2><p>{}</p>\n<div class=\"wide\"><table>\n{rows}</table></div>\
         </section>\n",
        escaped(&listing.title()),
        escaped(&listing.summary().join("; "))
    )
}

fn row(line: &Line, stage: Stage) -> String {
    let kind = line.plan.kind.replace(' ', "-");
    let slot = if line.in_slot { " <i>slot</i>" } else { "" };
    let mut guest = format!(
        "<code>{:x}</code> <code>{:08x}</code><pre>{}{slot}</pre>",
        line.address,
        line.word,
        escaped(&line.text)
    );
    if stage.shows(Stage::Decode) {
        let _ = write!(guest, "<small>{}</small>", line.classes.join(" ").to_lowercase());
    }
    let mut cells = format!("<td>{guest}</td>");
    if stage.shows(Stage::Plan) {
        let actions = escaped(&line.plan.actions.join("\n"));
        let (kind, reason) = (line.plan.kind, escaped(line.plan.reason));
        let changes: Vec<String> = line.changes.iter().map(|change| format!("* {change}")).collect();
        let _ = write!(
            cells,
            "<td><b>{kind}</b> <small>{reason}</small><pre>{actions}</pre><small>{}</small></td>",
            escaped(&changes.join("\n"))
        );
    }
    if stage.shows(Stage::Ir) {
        let _ = write!(cells, "<td><pre>{}</pre></td>", escaped(&line.ir.join("\n")));
    }
    if stage.shows(Stage::Host) {
        let _ = write!(cells, "<td>{}", host(&line.host));
        if !line.slow.is_empty() {
            let _ = write!(cells, "<details><summary>slow path</summary>{}</details>", host(&line.slow));
        }
        cells.push_str("</td>");
    }
    format!("<tr class=\"{kind}\">{cells}</tr>\n")
}

/// A row across all columns.
fn row_of_words(words: &str) -> String {
    format!("<tr class=\"part\"><td colspan=\"4\">{}</td></tr>\n", escaped(words))
}

fn named(name: Option<&String>, address: u64) -> String {
    name.cloned().unwrap_or_else(|| format!("{address:#x}"))
}

/// A row for host code that belongs to no instruction.
fn part(name: &str, lines: &[HostLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("<tr class=\"part\"><td colspan=\"3\">{}</td><td>{}</td></tr>\n", escaped(name), host(lines))
}

fn host(lines: &[HostLine]) -> String {
    let label = |line: &HostLine| line.label.as_ref().map(|label| format!("{label}:\n")).unwrap_or_default();
    let text: String = lines.iter().map(|line| format!("{}  {}\n", label(line), line.text)).collect();
    format!("<pre>{}</pre>", escaped(&text))
}
