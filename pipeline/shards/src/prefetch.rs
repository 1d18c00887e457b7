//! Reading ahead: threads that make batches before they are asked for, in buffers that are used again.
//!
//! What a batch holds is a function of its number, so neither threads nor how far they are ahead changes anything. Memory is bounded by the
//! number of batches that may wait. An error comes out in its batch's turn; dropping the reader stops its threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};

/// Batches in order of their numbers, made in the background.
pub struct Prefetch<T> {
    workers: Vec<Worker<T>>,
    next: u64,
}

struct Worker<T> {
    /// `None` only while it is dropped.
    ready: Option<Receiver<Result<T>>>,
    used: SyncSender<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Default + Send + 'static> Prefetch<T> {
    /// Starts `threads` threads, each up to `ahead` batches in advance, at batch number `first`. `fill` writes a batch into a buffer that may
    /// hold an earlier one. Thread w of W makes the batches first + w, first + w + W, …, up to `end`.
    pub fn start<F>(threads: usize, ahead: usize, first: u64, end: u64, fill: F) -> Result<Prefetch<T>>
    where
        F: Fn(u64, &mut T) -> Result<()> + Send + Sync + 'static,
    {
        let fill = Arc::new(fill);
        let threads = threads.max(1) as u64;
        let workers = (0..threads).map(|worker| {
            let (ready_in, ready) = sync_channel(ahead.max(1));
            // One more for the batch in the caller's hands, and one that is being made.
            let (used, used_out) = sync_channel::<T>(ahead.max(1) + 2);
            let fill = fill.clone();
            let work = move || {
                for number in (first + worker..end).step_by(threads as usize) {
                    let mut buffer = used_out.try_recv().unwrap_or_default();
                    let made = fill(number, &mut buffer).map(|()| buffer);
                    let failed = made.is_err();
                    // Nobody listens any more, or nothing may follow an error.
                    if ready_in.send(made).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name("reader".into()).spawn(work).context("starting a thread that reads ahead")?;
            Ok(Worker { ready: Some(ready), used, thread: Some(thread) })
        });
        Ok(Prefetch { workers: workers.collect::<Result<_>>()?, next: 0 })
    }

    /// The next batch; waits for it if it is not made yet.
    ///
    /// # Errors
    /// What `fill` said, or that its thread is gone: after an error, a panic or the last batch.
    pub fn take(&mut self) -> Result<T> {
        let index = (self.next % self.workers.len() as u64) as usize;
        let worker = &mut self.workers[index];
        self.next += 1;
        match worker.ready.as_ref().and_then(|ready| ready.recv().ok()) {
            Some(made) => made,
            None => Err(match worker.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => {
                    let text =
                        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
                    anyhow!("reading ahead failed: {}", text.unwrap_or_else(|| "unknown panic".into()))
                }
                _ => anyhow!("there is no further batch"),
            }),
        }
    }

    /// Gives a buffer back, to the thread whose turn it is next.
    pub fn give_back(&mut self, buffer: T) {
        let index = (self.next % self.workers.len() as u64) as usize;
        match self.workers[index].used.try_send(buffer) {
            // Too many, or the thread is done: it is freed.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // A thread that waits for room hears that nobody listens; one that fills a batch ends after it.
        self.workers.iter_mut().for_each(|worker| drop(worker.ready.take()));
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn numbers(number: u64, buffer: &mut Vec<u64>) -> Result<()> {
        buffer.clear();
        buffer.extend([number, number * number]);
        Ok(())
    }

    #[test]
    fn batches_come_in_order_for_any_number_of_threads() {
        for (threads, ahead) in [(1, 1), (1, 4), (3, 2), (8, 1)] {
            let mut reader = Prefetch::start(threads, ahead, 5, 105, numbers).unwrap();
            for number in 5..105 {
                let batch = reader.take().unwrap();
                assert_eq!(batch, [number, number * number]);
                reader.give_back(batch);
            }
            assert_eq!(reader.take().unwrap_err().to_string(), "there is no further batch");
        }
    }

    #[test]
    fn no_more_batches_wait_than_allowed() {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let fill = |_: u64, _: &mut ()| {
            MADE.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let mut reader = Prefetch::start(2, 3, 0, u64::MAX, fill).unwrap();
        for taken in 1..=50 {
            reader.take().unwrap();
            // Three wait for each thread, each may hold one more, and the other thread may be one batch behind.
            assert!(MADE.load(Ordering::SeqCst) <= taken + 2 * 4 + 1);
        }
        drop(reader);
    }

    #[test]
    fn errors_and_panics_come_out_in_their_turn() {
        let fill = |number: u64, _: &mut ()| match number {
            3 => Err(anyhow!("row 3 is broken")),
            _ => Ok(()),
        };
        let mut reader = Prefetch::start(2, 2, 0, 9, fill).unwrap();
        (0..3).for_each(|_| reader.take().unwrap());
        assert_eq!(reader.take().unwrap_err().to_string(), "row 3 is broken");
        let fill = |number: u64, _: &mut ()| if number == 1 { panic!("out of luck") } else { Ok(()) };
        let mut reader = Prefetch::start(1, 2, 0, 9, fill).unwrap();
        reader.take().unwrap();
        assert_eq!(reader.take().unwrap_err().to_string(), "reading ahead failed: out of luck");
    }
}
