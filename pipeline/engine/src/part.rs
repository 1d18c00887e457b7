//! Parts: the unit of work, of order and of resume.

/// One unit of work of a stage: its boundaries come from the data, never from threads.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Size for the progress display.
    pub bytes: u64,
}
