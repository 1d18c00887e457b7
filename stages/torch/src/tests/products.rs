//! Products of f32 matrices, which may be oneDNN's in place of LibTorch's own choice.

use tch::{Device, Kind, Tensor};

use super::alone;

const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

fn close(found: Tensor, expected: Tensor, what: &str) {
    assert_eq!((found.size(), found.kind()), (expected.size(), Kind::Float), "{what}");
    let far = (found.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]).max(1.0);
    assert!(far < 2e-6, "{what}: {far}");
}

#[test]
fn products_of_matrices_in_any_layout_are_right() {
    let _alone = alone();
    tch::manual_seed(7);
    let double = |x: &Tensor| x.to_kind(Kind::Double);
    for (rows, inner, columns) in [(3, 4, 5), (128, 64, 96), (257, 100, 300), (1, 700, 900), (900, 700, 1)] {
        let (a, b) = (Tensor::randn([rows, inner], OPTIONS), Tensor::randn([inner, columns], OPTIONS));
        let bias = Tensor::randn([columns], OPTIONS);
        let expected = double(&a).mm(&double(&b));
        let wider = Tensor::cat(&[&a, &a], 1).narrow(1, inner / 2, inner);
        let every_second = Tensor::stack(&[&a, &b.tr().narrow(0, 0, 1).expand([rows, inner], false)], 2).select(2, 0);
        let [turned_a, turned_b] = [&a, &b].map(|x| x.tr().contiguous().tr());
        for (name, a, b) in [("plain", &a, &b), ("turned", &turned_a, &turned_b), ("every second", &every_second, &b)] {
            let what = format!("{name}, {rows} × {inner} × {columns}");
            close(a.mm(b), expected.shallow_clone(), &what);
            let mut room = Tensor::full([rows + 1, columns], f64::NAN, OPTIONS).narrow(0, 0, rows);
            close(a.mm_out(&room, b), expected.shallow_clone(), &what);
            close(room.addmm_(a, b), &expected * 2.0, &what);
            close(bias.addmm(a, b), &expected + double(&bias), &what);
            close(a.linear(&b.tr(), Some(&bias)), &expected + double(&bias), &what);
            close(a.linear(&b.tr().contiguous(), None::<&Tensor>), expected.shallow_clone(), &what);
        }
        close(wider.mm(&b), double(&wider).mm(&double(&b)), "part of a wider one");
        let (some, others) = (a.unsqueeze(0).expand([3, rows, inner], false), Tensor::randn([3, inner, columns], OPTIONS));
        close(some.bmm(&others), double(&some).bmm(&double(&others)), "many");
        let turned = others.transpose(1, 2).contiguous().transpose(1, 2);
        close(some.bmm(&turned), double(&some).bmm(&double(&others)), "many turned");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn products_are_replaced_on_amd_alone() {
    let amd = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default().contains("AuthenticAMD");
    let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    assert_eq!(crate::shim::cpu().contains("products by oneDNN"), amd && wide, "{}", crate::shim::cpu());
}

#[test]
fn what_cannot_be_multiplied_is_an_error_and_nothing_is_nothing() {
    let of = |rows, columns| Tensor::ones([rows, columns], OPTIONS);
    assert!(of(300, 500).f_mm(&of(400, 300)).is_err());
    assert!(of(300, 500).f_mm(&of(500, 300).to_kind(Kind::Double)).is_err());
    assert!(of(1, 300).f_addmm(&of(300, 500), &of(400, 300)).is_err());
    assert_eq!(of(0, 500).mm(&of(500, 300)).size(), [0, 300]);
    assert_eq!(of(600, 0).mm(&of(0, 600)).abs().max().double_value(&[]), 0.0);
}

#[test]
fn gradients_of_products_are_right() {
    let _alone = alone();
    tch::manual_seed(8);
    let (a, b) = (Tensor::randn([128, 96], OPTIONS).set_requires_grad(true), Tensor::randn([64, 96], OPTIONS).set_requires_grad(true));
    let y = a.linear(&b, None::<&Tensor>);
    let weights = Tensor::randn([128, 64], OPTIONS);
    (&y * &weights).sum(Kind::Float).backward();
    let double = |x: &Tensor| x.detach().to_kind(Kind::Double);
    close(a.grad(), double(&weights).mm(&double(&b)), "of the first");
    close(b.grad(), double(&weights).tr().mm(&double(&a)), "of the second");
}
