//! Compiles the C++ shims against the LibTorch that torch-sys found, and lets the tests of this crate find it at run time.

fn main() {
    let sources = ["src/shim.cpp", "src/ranks.cpp", "src/attention.cpp", "src/cross_entropy.cpp", "src/gelu.cpp", "src/products.cpp"];
    sources.iter().chain(&["src/lanes.h", "gloo"]).for_each(|path| println!("cargo:rerun-if-changed={path}"));
    let libraries = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys, a direct dependency, tells where LibTorch lies");
    let include = std::path::Path::new(&libraries).join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include(".")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .opt_level(3)
        .files(sources)
        .compile("mill_shim");
    // Before LibTorch's other libraries: what templates of its headers leave open would else be found in the one for CUDA, which then had to
    // be there on every machine.
    println!("cargo:rustc-link-search=native={libraries}");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-arg=-Wl,-rpath={libraries}");
}
