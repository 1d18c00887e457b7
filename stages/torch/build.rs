//! Compiles the C++ shim against the LibTorch that torch-sys found, and lets the tests of this crate find it at run time.

fn main() {
    let sources = ["src/shim.cpp", "src/cross_entropy.cpp", "src/gelu.cpp"];
    println!("cargo:rerun-if-changed=src/lanes.h");
    sources.iter().for_each(|source| println!("cargo:rerun-if-changed={source}"));
    let libraries = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys, a direct dependency, tells where LibTorch lies");
    let include = std::path::Path::new(&libraries).join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .opt_level(3)
        .files(sources)
        .compile("mill_shim");
    println!("cargo:rustc-link-arg=-Wl,-rpath={libraries}");
}
