//! Safe functions over the C++ shim: the few things of LibTorch that tch does not generate. No logic of our own.

use std::ffi::{CStr, CString, c_char, c_double, c_int, c_void};
use std::time::Duration;

use anyhow::{Result, bail};
use tch::{Device, Kind, Tensor};

type Handle = *const torch_sys::C_tensor;

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
    // SAFETY: tells a number that was set before the program began.
    if unsafe { mill_products_replaced() } != 0 {
        features.push_str(" products by oneDNN");
    }
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

/// What the loaded LibTorch says of its own build, its version among it.
pub fn configuration() -> String {
    // SAFETY: no arguments; the result is from strdup.
    take(unsafe { mill_configuration() })
}

/// What an optimizer changes: tensors, and for each kind of state a list with a tensor for each of them. Tensors without a gradient stay.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    pub tensors: &'a [Tensor],
    pub states: &'a [Vec<Tensor>],
}

impl Lists<'_> {
    /// Handles of the tensors, and of all states one list after another.
    fn handles(self) -> (Vec<Handle>, Vec<Handle>) {
        assert!(self.states.iter().all(|state| state.len() == self.tensors.len()), "each tensor has its state");
        (handles(self.tensors), self.states.iter().flat_map(|state| handles(state)).collect())
    }
}

/// Settings of an Adam step.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub betas: [f64; 2],
    pub epsilon: f64,
    /// Whether the decay is apart from the gradient (AdamW).
    pub decoupled: bool,
}

/// A fused step of Adam or AdamW, number `step` from 1. States: averages of the gradients, averages of their squares.
pub fn adam(lists: Lists, step: u64, learning_rate: f64, weight_decay: f64, adam: Adam) -> Result<()> {
    let (tensors, states) = lists.handles();
    let Adam { betas: [beta1, beta2], epsilon, decoupled } = adam;
    let (values, states, count) = (tensors.as_ptr(), states.as_ptr(), tensors.len());
    let step = step as f64;
    // SAFETY: the handles are alive as long as the borrowed tensors, here and in the functions below.
    let error =
        unsafe { mill_adam(values, count, states, step, learning_rate, beta1, beta2, weight_decay, epsilon, c_int::from(decoupled)) };
    check("the Adam step failed", error)
}

/// A fused step of gradient descent. State: averages of the gradients, unless `momentum` is 0.
pub fn sgd(lists: Lists, learning_rate: f64, weight_decay: f64, momentum: f64, nesterov: bool) -> Result<()> {
    let (tensors, states) = lists.handles();
    let (values, states, count) = (tensors.as_ptr(), states.as_ptr(), tensors.len());
    // SAFETY: as above.
    let error = unsafe { mill_sgd(values, count, states, learning_rate, momentum, weight_decay, c_int::from(nesterov)) };
    check("the SGD step failed", error)
}

/// A fused step of AdaGrad, number `step` from 1. State: sums of the squared gradients.
pub fn adagrad(lists: Lists, step: u64, learning_rate: f64, weight_decay: f64, epsilon: f64) -> Result<()> {
    let (tensors, states) = lists.handles();
    let (values, states, count) = (tensors.as_ptr(), states.as_ptr(), tensors.len());
    // SAFETY: as above.
    let error = unsafe { mill_adagrad(values, count, states, step as f64, learning_rate, weight_decay, epsilon) };
    check("the AdaGrad step failed", error)
}

/// A step of Lion. State: averages of the gradients.
pub fn lion(lists: Lists, learning_rate: f64, weight_decay: f64, [beta1, beta2]: [f64; 2]) -> Result<()> {
    let (tensors, states) = lists.handles();
    let (values, states, count) = (tensors.as_ptr(), states.as_ptr(), tensors.len());
    // SAFETY: as above.
    let error = unsafe { mill_lion(values, count, states, learning_rate, beta1, beta2, weight_decay) };
    check("the Lion step failed", error)
}

/// Moves each average by the share `weight` towards its value.
pub fn average(averages: &[Tensor], values: &[Tensor], weight: f64) -> Result<()> {
    assert_eq!(averages.len(), values.len(), "each value has its average");
    let (averages, values) = (handles(averages), handles(values));
    // SAFETY: as above.
    check("averaging weights failed", unsafe { mill_average(averages.as_ptr(), values.as_ptr(), values.len(), weight) })
}

/// Adds `l1` times the signs of the tensors to their gradients.
pub fn l1(tensors: &[Tensor], l1: f64) -> Result<()> {
    let values = handles(tensors);
    // SAFETY: as above.
    check("the L1 penalty failed", unsafe { mill_l1(values.as_ptr(), values.len(), l1) })
}

/// Limits the absolute value of all gradients.
pub fn clip_values(tensors: &[Tensor], limit: f64) -> Result<()> {
    let values = handles(tensors);
    // SAFETY: as above.
    check("gradient clipping failed", unsafe { mill_clip_values(values.as_ptr(), values.len(), limit) })
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

/// Turns `logits` (rows, vocabulary), f32 or bf16 on the CPU, into softmax − target in place, where the target is 1 − `smoothing` at `labels`
/// (rows) and the rest spread over all; gives the negative log-likelihoods of the labels (rows, f32).
pub fn cross_entropy(logits: &mut Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let nll = Tensor::empty(labels.size(), (Kind::Float, Device::Cpu));
    // SAFETY: as above; the logits are not shared, and the shim checks layouts and labels.
    check("the cross entropy failed", unsafe { mill_cross_entropy(logits.as_ptr(), labels.as_ptr(), smoothing, nll.as_ptr()) })?;
    Ok(nll)
}

/// The Gaussian error linear unit of `x`, f32 or bf16 on the CPU, exact or by the approximation with `tanh`.
pub fn gelu(x: &Tensor, tanh: bool) -> Result<Tensor> {
    let mut y = std::ptr::null_mut();
    // SAFETY: the shim hands over a new tensor, or an error and none.
    unsafe {
        check("GELU failed", mill_gelu(x.as_ptr(), c_int::from(tanh), &mut y))?;
        Ok(Tensor::from_ptr(y))
    }
}

/// Attention of `q` (batch, heads, time, width) to `k` and `v` (batch, heads, keys, width) by a kernel of our own on the CPU.
/// `mask` holds booleans (batch or 1, 1, time or 1, keys); a causal one looks at none and wants as many keys as queries.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal: bool, scale: f64) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    let mask = mask.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: as above; the mask may be null.
    unsafe {
        check("attention failed", mill_attention(q.as_ptr(), k.as_ptr(), v.as_ptr(), mask, c_int::from(causal), scale, &mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}

/// Whether CUDA multiplies f32 in TF32, and whether its kernels give the same sums each time.
pub fn cuda_switches(tf32: bool, deterministic: bool) -> Result<()> {
    // SAFETY: sets flags of LibTorch.
    check("setting CUDA's ways failed", unsafe { mill_cuda_switches(c_int::from(tf32), c_int::from(deterministic)) })
}

/// The number of a GPU; negative for the processor.
fn gpu(device: Device) -> Result<c_int> {
    Ok(if let Device::Cuda(index) = device { c_int::try_from(index)? } else { -1 })
}

/// The state of the device's random numbers.
pub fn random_state(device: Device) -> Result<Tensor> {
    let (gpu, mut state) = (gpu(device)?, std::ptr::null_mut());
    // SAFETY: the shim hands over a new tensor, or an error and none.
    unsafe {
        check("reading the state of the random numbers failed", mill_random_state(gpu, &mut state))?;
        Ok(Tensor::from_ptr(state))
    }
}

/// Sets what [`random_state`] gave.
pub fn set_random_state(device: Device, state: &Tensor) -> Result<()> {
    let gpu = gpu(device)?;
    // SAFETY: as above.
    check("setting the state of the random numbers failed", unsafe { mill_set_random_state(gpu, state.as_ptr()) })
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

/// Whether products of the calling thread are taken in bf16.
pub fn is_autocast(device: Device) -> bool {
    // SAFETY: reads a thread-local flag.
    unsafe { mill_is_autocast(c_int::from(device.is_cuda())) != 0 }
}

/// Processes that sum tensors together.
pub struct Group(*mut c_void);

impl Group {
    /// Meets the others by the file at `path`, within `meeting`; afterwards each operation waits for them up to `patience`. Nothing listens
    /// beyond the loopback interface.
    pub fn meet(path: &str, rank: usize, count: usize, meeting: Duration, patience: Duration, device: Device) -> Result<Group> {
        let (path, mut group) = (CString::new(path)?, std::ptr::null_mut());
        let (rank, count) = (c_int::try_from(rank)?, c_int::try_from(count)?);
        let gpu = gpu(device)?;
        let (meeting, patience) = (meeting.as_secs_f64(), patience.as_secs_f64());
        // SAFETY: path and place of the result outlive the call.
        let error = unsafe { mill_meet(path.as_ptr(), rank, count, meeting, patience, gpu, &mut group) };
        check("joining the ranks failed", error).map(|()| Group(group))
    }

    /// Sums numbers over all ranks.
    pub fn sum(&self, values: &mut [f64]) -> Result<()> {
        // SAFETY: the group lives as long as self; the numbers outlive the call.
        let error = unsafe { mill_sum(self.0, values.as_mut_ptr(), values.len()) };
        check("summing failed", error)
    }

    /// Sums tensors of one kind and device over all ranks, in place.
    pub fn sum_tensors(&self, tensors: &[Tensor]) -> Result<()> {
        let handles = handles(tensors);
        // SAFETY: as above.
        let error = unsafe { mill_sum_tensors(self.0, handles.as_ptr(), handles.len()) };
        check("summing gradients failed", error)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: from `mill_meet`, and freed once.
        unsafe { mill_leave(self.0) }
    }
}

unsafe extern "C" {
    fn mill_lion(
        tensors: *const Handle,
        count: usize,
        states: *const Handle,
        learning_rate: c_double,
        beta1: c_double,
        beta2: c_double,
        weight_decay: c_double,
    ) -> *mut c_char;
    fn mill_average(averages: *const Handle, values: *const Handle, count: usize, weight: c_double) -> *mut c_char;
    fn mill_l1(tensors: *const Handle, count: usize, l1: c_double) -> *mut c_char;
    fn mill_clip_values(tensors: *const Handle, count: usize, limit: c_double) -> *mut c_char;
    fn mill_clip_gradients(tensors: *const Handle, count: usize, max_norm: c_double, norm: *mut c_double) -> *mut c_char;
    fn mill_forget_gradients(tensors: *const Handle, count: usize);
    fn mill_ensure_gradient(tensor: Handle) -> *mut c_char;
    fn mill_backward(tensor: Handle, gradient: Handle) -> *mut c_char;
    fn mill_cross_entropy(logits: Handle, labels: Handle, smoothing: c_double, nll: Handle) -> *mut c_char;
    fn mill_cuda_switches(tf32: c_int, deterministic: c_int) -> *mut c_char;
    fn mill_attention(
        q: Handle,
        k: Handle,
        v: Handle,
        mask: Handle,
        causal: c_int,
        scale: c_double,
        out: *mut *mut torch_sys::C_tensor,
    ) -> *mut c_char;
    fn mill_products_replaced() -> c_int;
    fn mill_gelu(x: Handle, tanh: c_int, y: *mut *mut torch_sys::C_tensor) -> *mut c_char;
    fn mill_random_state(gpu: c_int, state: *mut *mut torch_sys::C_tensor) -> *mut c_char;
    fn mill_set_random_state(gpu: c_int, state: Handle) -> *mut c_char;
    fn mill_autocast(on_cuda: c_int, enabled: c_int) -> *mut c_char;
    fn mill_is_autocast(on_cuda: c_int) -> c_int;
    fn mill_cpu_capability() -> *mut c_char;
    fn mill_version() -> *const c_char;
    fn mill_configuration() -> *mut c_char;
    fn mill_meet(
        path: *const c_char,
        rank: c_int,
        count: c_int,
        meeting: c_double,
        patience: c_double,
        gpu: c_int,
        group: *mut *mut c_void,
    ) -> *mut c_char;
    fn mill_leave(group: *mut c_void);
    fn mill_sum(group: *mut c_void, values: *mut c_double, count: usize) -> *mut c_char;
    fn mill_sum_tensors(group: *mut c_void, tensors: *const Handle, count: usize) -> *mut c_char;
    fn mill_adam(
        tensors: *const Handle,
        count: usize,
        states: *const Handle,
        step: c_double,
        learning_rate: c_double,
        beta1: c_double,
        beta2: c_double,
        weight_decay: c_double,
        epsilon: c_double,
        decoupled: c_int,
    ) -> *mut c_char;
    fn mill_sgd(
        tensors: *const Handle,
        count: usize,
        states: *const Handle,
        learning_rate: c_double,
        momentum: c_double,
        weight_decay: c_double,
        nesterov: c_int,
    ) -> *mut c_char;
    fn mill_adagrad(
        tensors: *const Handle,
        count: usize,
        states: *const Handle,
        step: c_double,
        learning_rate: c_double,
        weight_decay: c_double,
        epsilon: c_double,
    ) -> *mut c_char;
}
