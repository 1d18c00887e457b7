//! Blocks as plain text, white space as browsers show it.

use super::tree::{Element, Kind, Tree};

/// The kept blocks, each apart from the one before as its kind asks for.
pub fn text(tree: &Tree, kept: &[bool]) -> String {
    let blocks: Vec<usize> = (0..tree.blocks.len()).filter(|block| kept[*block]).collect();
    let mut out = String::with_capacity(blocks.iter().map(|block| tree.block(*block).len() + 3).sum());
    let mut before: Option<&Element> = None;
    let mut at = 0;
    while at < blocks.len() {
        let element = &tree.elements[tree.blocks[blocks[at]].element];
        let row = row_length(tree, &blocks[at..]);
        if let Some(before) = before {
            out.push_str(gap(before, element, row > 0));
        }
        if row > 0 {
            for (index, block) in blocks[at..at + row].iter().enumerate() {
                if index > 0 {
                    let same = cell(tree, blocks[at + index - 1]) == cell(tree, *block);
                    out.push_str(if same { " " } else { " | " });
                }
                push_line(&mut out, tree.block(*block));
            }
            at += row;
        } else {
            let first = before.is_none_or(|before| before.item != element.item);
            push_block(&mut out, tree.block(blocks[at]), element, tree, first);
            at += 1;
        }
        before = Some(element);
    }
    out
}

/// How many blocks from here on form one table row that can stand in one line: short cells without structure of their own. 0 for none.
fn row_length(tree: &Tree, blocks: &[usize]) -> usize {
    const CELL_BLOCKS: usize = 3;
    let element = |block: usize| &tree.elements[tree.blocks[block].element];
    let row = element(blocks[0]).row;
    if row == 0 {
        return 0;
    }
    let length = blocks.iter().take_while(|block| element(**block).row == row).count();
    let mut in_cell = 0;
    for (index, block) in blocks[..length].iter().enumerate() {
        let same = index > 0 && cell(tree, blocks[index - 1]) == cell(tree, *block);
        in_cell = if same { in_cell + 1 } else { 1 };
        if in_cell > CELL_BLOCKS || element(*block).kind != Kind::Cell {
            return 0;
        }
    }
    length
}

fn cell(tree: &Tree, block: usize) -> usize {
    tree.elements[tree.blocks[block].element].cell
}

/// What stands between two blocks.
fn gap(before: &Element, element: &Element, row: bool) -> &'static str {
    let listed = |element: &Element| matches!(element.kind, Kind::Item | Kind::Term | Kind::Definition);
    if listed(before) && listed(element) && element.kind != Kind::Term || row && before.kind == Kind::Cell { "\n" } else { "\n\n" }
}

fn push_block(out: &mut String, block: &str, element: &Element, tree: &Tree, first: bool) {
    if element.kind != Kind::Item {
        out.push_str(block);
        return;
    }
    let indent = 2 * element.lists.saturating_sub(1).min(20);
    out.extend(std::iter::repeat_n(' ', indent));
    match tree.elements[element.item].number {
        _ if !first => out.push_str("  "),
        0 => out.push_str("- "),
        number => out.push_str(&format!("{number}. ")),
    }
    for (index, line) in block.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent + 2));
        }
        out.push_str(line);
    }
}

/// A block within a line.
fn push_line(out: &mut String, block: &str) {
    for (index, line) in block.split('\n').enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(line);
    }
}

/// Appends text with each run of ASCII white space as one space, none at the start of the block or after a line break.
pub fn push_collapsed(out: &mut String, block_start: usize, text: &str) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            if out.len() > block_start && !out.ends_with([' ', '\n']) {
                out.push(' ');
            }
            at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        } else {
            let length = bytes[at..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
            out.push_str(&text[at..at + length]);
            at += length;
        }
    }
}
