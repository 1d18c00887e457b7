//! Rewrites of text: each takes a text and gives it back, borrowed when nothing changes.
//!
//! A rewrite only cleans what it names; which are applied, and in which order, is a profile's choice.

mod c4;
mod chinese;
mod code_pages;
mod html;
mod kept;
mod lines;
mod mojibake;
mod pii;
mod pii_addresses;
mod pii_numbers;
mod refinedweb;
mod urls;

pub use c4::{C4, c4_lines};
pub use chinese::{to_simplified, to_traditional};
pub use html::{strip_html, unescape_html};
pub use lines::{limit_newlines, remove_repeated_lines, remove_repeated_paragraphs};
pub use mojibake::fix_mojibake;
pub use pii::{Pii, PiiKinds, PiiStyle, mask_pii, pii_count};
pub use refinedweb::refinedweb_lines;
pub use urls::remove_urls;
