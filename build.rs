//! Tells the linker of `mill-model`, and of nothing else, where LibTorch lies.

fn main() {
    if let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-bin=mill-model=-Wl,-rpath={libraries}");
    }
}
