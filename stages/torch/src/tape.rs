//! Activation checkpointing (Chen et al. 2016): of each block only its input is kept, and the block is computed again when its gradient is wanted.
//!
//! A network hands its blocks to the tape as [segments](Tape::segment). When the tape is on, they are computed without gradients, and
//! [`Tape::unwind`] goes back through them from the last to the first, with the random numbers of the first time.

use std::cell::RefCell;

use anyhow::Result;
use tch::{Device, Tensor};

use crate::shim;

/// The blocks that a pass went through, for networks that live as long as `'a`.
pub struct Tape<'a> {
    on: Option<Recompute>,
    cuts: RefCell<Vec<Cut<'a>>>,
}

/// How blocks are computed again.
#[derive(Clone, Copy)]
struct Recompute {
    device: Device,
    bf16: bool,
}

type Block<'a> = Box<dyn Fn(&Tensor) -> Tensor + 'a>;

/// A place where the graph of gradients ends and begins anew.
struct Cut<'a> {
    input: Tensor,
    /// What was done with the input, and the state of the random numbers then; nothing where the graph is cut alone.
    segment: Option<(Block<'a>, Tensor)>,
    /// What went on from here; it gathers the gradient.
    output: Tensor,
}

impl<'a> Tape<'a> {
    /// Keeps nothing: segments are plain calls.
    pub fn off() -> Tape<'a> {
        Tape { on: None, cuts: RefCell::default() }
    }

    pub fn new(on: bool, device: Device, bf16: bool) -> Tape<'a> {
        Tape { on: on.then_some(Recompute { device, bf16 }), ..Tape::off() }
    }

    /// `block(x)`. What else the block sees must need no gradient or come from [`Tape::cut`].
    pub fn segment(&self, x: Tensor, block: impl Fn(&Tensor) -> Tensor + 'a) -> Result<Tensor> {
        let Some(how) = self.on else { return Ok(block(&x)) };
        let state = shim::random_state(how.device)?;
        let output = tch::no_grad(|| block(&x.detach())).set_requires_grad(true);
        self.cuts.borrow_mut().push(Cut { input: x, segment: Some((Box::new(block), state)), output: output.shallow_clone() });
        Ok(output)
    }

    /// `x` for the use of several segments, whose gradients are added up.
    pub fn cut(&self, x: Tensor) -> Tensor {
        if self.on.is_none() || !x.requires_grad() {
            return x;
        }
        let output = x.detach().set_requires_grad(true);
        self.cuts.borrow_mut().push(Cut { input: x, segment: None, output: output.shallow_clone() });
        output
    }

    /// Goes on with the backward pass from where what followed the last segment ended.
    pub fn unwind(&self) -> Result<()> {
        let Some(how) = self.on else { return Ok(()) };
        for cut in self.cuts.take().into_iter().rev() {
            let gradient = cut.output.grad();
            if !gradient.defined() {
                continue;
            }
            let Some((block, state)) = cut.segment else {
                shim::backward(&cut.input, &gradient)?;
                continue;
            };
            let input = cut.input.detach().set_requires_grad(true);
            let now = shim::random_state(how.device)?;
            shim::set_random_state(how.device, &state)?;
            let output = shim::autocast(how.device, how.bf16, || block(&input))?;
            shim::set_random_state(how.device, &now)?;
            shim::backward(&output, &gradient)?;
            if cut.input.requires_grad() {
                shim::backward(&cut.input, &input.grad())?;
            }
        }
        Ok(())
    }
}
