//! What errors of LibTorch say to whoever reads them.

use std::any::Any;

/// How LibTorch and C++ say that there is no more memory.
const OUT_OF_MEMORY: [&str; 3] = ["can't allocate memory", "CUDA out of memory", "std::bad_alloc"];
/// Beginnings of the lines of a C++ stack.
const STACK: [&str; 2] = ["frame #", "Exception raised from"];

/// The words of a panic, as which errors of LibTorch reach us through tch.
pub fn of_panic(panic: Box<dyn Any + Send>) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
    anyhow::anyhow!("{}", text.unwrap_or_else(|| "unknown panic".into()))
}

/// An error without the C++ stack; where memory ran out, with what helps.
pub fn told(text: &str, help: &str) -> String {
    // tch unwraps its errors, which writes line ends as `\n`.
    let unwrapped = text.split_once("on an `Err` value: Torch(\"").map(|(_, words)| words.trim_end_matches("\")").replace("\\n", "\n"));
    let text = unwrapped.as_deref().unwrap_or(text);
    if OUT_OF_MEMORY.iter().any(|sign| text.contains(sign)) {
        let asked = text.split_once("ried to allocate ").and_then(|(_, rest)| Some(rest.split_once(". ")?.0));
        let asked = asked.map(|size| format!(", {size} more were asked for")).unwrap_or_default();
        return format!("memory ran out{asked}: {help}");
    }
    text.lines().take_while(|line| !STACK.iter().any(|stack| line.starts_with(stack))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_told_with_what_helps() {
        let unwrapped = r#"called `Result::unwrap()` on an `Err` value: Torch("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4194304 bytes. Error code 12 (Cannot allocate memory)\nframe #0: c10::ThrowEnforceNotMet(char const*) + 0x6a (0x7f in libc10.so)\n")"#;
        assert_eq!(told(unwrapped, "free some"), "memory ran out, 4194304 bytes more were asked for: free some");
        let gpu = "Internal torch error: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB\nException raised from malloc";
        assert_eq!(told(gpu, "free some"), "memory ran out, 2.50 GiB more were asked for: free some");
        assert_eq!(told(r#"called `Result::unwrap()` on an `Err` value: Torch("std::bad_alloc")"#, "x"), "memory ran out: x");
    }

    #[test]
    fn stacks_are_left_out_and_other_errors_stay() {
        let shapes = r#"called `Result::unwrap()` on an `Err` value: Torch("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)\nException raised from meta at x.cpp:1 (most recent call first):\nframe #0: c10::Error")"#;
        assert_eq!(told(shapes, ""), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
        let own = "reading `a\\n`: line 1\nline 2";
        assert_eq!(told(own, ""), own);
    }

    #[test]
    fn a_panic_of_libtorch_is_told_without_its_stack() {
        let _alone = crate::tests::alone();
        let product = || tch::Tensor::from_slice(&[1f32, 2.0]).matmul(&tch::Tensor::from_slice(&[1f32, 2.0, 3.0]));
        let panic = std::panic::catch_unwind(|| drop(product())).unwrap_err();
        let text = told(&of_panic(panic).to_string(), "");
        assert!(text.contains("size") && !text.contains("frame #") && !text.contains("unwrap") && text.lines().count() == 1, "{text}");
    }
}
