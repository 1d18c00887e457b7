//! Safe functions over the C++ shim: the few things of LibTorch that tch does not generate. No logic of our own.

use std::ffi::{CStr, c_char, c_double, c_int};

use anyhow::{Result, bail};
use tch::{Device, Tensor};

type Handle = *const torch_sys::C_tensor;

unsafe extern "C" {
    fn mill_fused_adamw(
        tensors: *const Handle,
        averages: *const Handle,
        squares: *const Handle,
        count: usize,
        step: c_double,
        learning_rate: c_double,
        beta1: c_double,
        beta2: c_double,
        weight_decay: c_double,
        epsilon: c_double,
    ) -> *mut c_char;
    fn mill_clip_gradients(tensors: *const Handle, count: usize, max_norm: c_double, norm: *mut c_double) -> *mut c_char;
    fn mill_forget_gradients(tensors: *const Handle, count: usize);
    fn mill_ensure_gradient(tensor: Handle) -> *mut c_char;
    fn mill_backward(tensor: Handle, gradient: Handle) -> *mut c_char;
    fn mill_autocast(on_cuda: c_int, enabled: c_int) -> *mut c_char;
    fn mill_cpu_capability() -> *mut c_char;
    fn mill_version() -> *const c_char;
}

fn handles(tensors: &[Tensor]) -> Vec<Handle> {
    tensors.iter().map(Tensor::as_ptr).collect()
}

fn check(what: &str, error: *mut c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    let message = take(error);
    bail!("{what}: {}", message.lines().next().unwrap_or_default())
}

fn take(text: *mut c_char) -> String {
    // SAFETY: the shim hands over strings from strdup, which are ours to free.
    unsafe {
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        owned
    }
}

/// What of the CPU the kernels go by, for example "AVX512 bf16 amx".
pub fn cpu() -> String {
    // SAFETY: no arguments; the result is from strdup.
    let mut features = take(unsafe { mill_cpu_capability() });
    #[cfg(target_arch = "x86_64")]
    {
        let leaf = |sub| std::arch::x86_64::__cpuid_count(7, sub);
        // AVX512_BF16 is bit 5 of EAX of leaf 7.1, AMX-BF16 bit 22 of EDX of leaf 7.0.
        if leaf(1).eax & (1 << 5) != 0 {
            features.push_str(" bf16");
        }
        if leaf(0).edx & (1 << 22) != 0 {
            features.push_str(" amx");
        }
    }
    features
}

/// The version of LibTorch, as compiled against.
pub fn version() -> String {
    // SAFETY: a constant of the shim.
    unsafe { CStr::from_ptr(mill_version()) }.to_string_lossy().into_owned()
}

/// Settings of one AdamW step.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Counts from 1.
    pub step: u64,
    pub learning_rate: f64,
    pub betas: [f64; 2],
    pub epsilon: f64,
    pub weight_decay: f64,
}

/// One fused AdamW step on tensors that all have a gradient; the three lists go together.
pub fn fused_adamw(tensors: &[Tensor], averages: &[Tensor], squares: &[Tensor], adam: Adam) -> Result<()> {
    let [values, averages, squares] = [handles(tensors), handles(averages), handles(squares)];
    let Adam { step, learning_rate, betas: [beta1, beta2], epsilon, weight_decay } = adam;
    // SAFETY: the handles are alive as long as the borrowed tensors.
    let error = unsafe {
        mill_fused_adamw(
            values.as_ptr(),
            averages.as_ptr(),
            squares.as_ptr(),
            values.len(),
            step as f64,
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            epsilon,
        )
    };
    check("the AdamW step failed", error)
}

/// The global L2 norm of the gradients before clipping; above `max_norm` (when positive) they are scaled down to it.
pub fn clip_gradients(tensors: &[Tensor], max_norm: f64) -> Result<f64> {
    let (values, mut norm) = (handles(tensors), 0.0);
    // SAFETY: as above; `norm` outlives the call.
    let error = unsafe { mill_clip_gradients(values.as_ptr(), values.len(), max_norm, &mut norm) };
    check("gradient clipping failed", error).map(|()| norm)
}

/// Forgets all gradients.
pub fn forget_gradients(tensors: &[Tensor]) {
    let values = handles(tensors);
    // SAFETY: as above.
    unsafe { mill_forget_gradients(values.as_ptr(), values.len()) }
}

/// The gradient of a variable, zeros when it has none yet; adding to it in place adds to the variable's gradient.
pub fn gradient(tensor: &Tensor) -> Result<Tensor> {
    // SAFETY: as above.
    check("making room for a gradient failed", unsafe { mill_ensure_gradient(tensor.as_ptr()) })?;
    Ok(tensor.grad())
}

/// Backward pass from `tensor` with the given gradient of the loss.
pub fn backward(tensor: &Tensor, gradient: &Tensor) -> Result<()> {
    // SAFETY: as above.
    check("the backward pass failed", unsafe { mill_backward(tensor.as_ptr(), gradient.as_ptr()) })
}

/// Runs `body` under autocast to bfloat16 on this thread when `enabled`.
pub fn autocast<T>(device: Device, enabled: bool, body: impl FnOnce() -> T) -> Result<T> {
    if !enabled {
        return Ok(body());
    }
    let cuda = c_int::from(device.is_cuda());
    // SAFETY: changes thread-local flags only.
    check("autocast could not be turned on", unsafe { mill_autocast(cuda, 1) })?;
    let result = body();
    check("autocast could not be turned off", unsafe { mill_autocast(cuda, 0) })?;
    Ok(result)
}
