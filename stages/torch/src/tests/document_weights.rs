//! Weights of documents: nothing changes where all are equal, 0 leaves out, 2 counts twice, and the loss is Σ weight × loss / Σ weight of a step.

use model::LabelType;

use super::*;
use crate::batches::Denoising;
use crate::objective::Targets;
use crate::ranks::Ranks;

/// What rows are learned as.
struct Case {
    name: &'static str,
    config: NetworkConfig,
    collate: Collate,
}

fn cases() -> Vec<Case> {
    let classes = || Some(["B-X", "I-X", "O"].map(String::from).to_vec());
    let labelled = |layout: &str, label_type| Facts { label_type, classes: classes(), ..facts(layout) };
    let class = || Head::Classify { classes: classes().unwrap() };
    let (tags, several) = (Head::Tag { classes: classes().unwrap() }, Head::MultiLabel { classes: classes().unwrap() });
    let pairs = Head::Pairs { classes: vec!["next".into(), "random".into()] };
    let denoising = Denoising { settings: model::Denoise::default(), seed: 3, sentinels: vec![49, 48, 47], end: 2, causal: true };
    let seq2seq = || config(Family::Seq2seq, Head::Causal);
    let case = |name, config, facts, masks: bool, denoising| {
        let masking = masks.then(|| Masking::of_tokens(0.3, 5));
        Case { name, config, collate: Collate { facts, masking, denoising, documents: false } }
    };
    vec![
        case("causal", config(Family::Gpt, Head::Causal), facts("packed"), false, None),
        case("masked", config(Family::Bert, Head::Masked), facts("packed"), true, None),
        case("complete", config(Family::Gpt, Head::Causal), facts("complete"), false, None),
        case("translate", seq2seq(), facts("translate"), false, None),
        case("denoise", seq2seq(), facts("packed"), false, Some(denoising)),
        case("class", config(Family::Bert, class()), labelled("classify", LabelType::Class), false, None),
        case("several", config(Family::Bert, several), labelled("classify", LabelType::MultiLabel), false, None),
        case("number", config(Family::Bert, Head::Number), labelled("classify", LabelType::Number), false, None),
        case("tags", config(Family::Bert, tags), labelled("tag", LabelType::Class), false, None),
        case("answers", config(Family::Bert, Head::Answer), facts("answer"), false, None),
        case("pairs", config(Family::Bert, pairs), facts("pairs"), true, None),
    ]
}

/// Rows with all that a case asks for.
fn rows_of(case: &Case, count: usize) -> Vec<Row> {
    let (tags, translate) = (case.collate.facts.layout == "tag", case.collate.facts.layout == "translate");
    let mut all = rows(count);
    for (i, row) in all.iter_mut().enumerate() {
        let length = row.tokens.len();
        row.classes = vec![i as i64 % 3];
        row.number = i as f64 / 4.0;
        row.span = [(length / 2) as i64, (length / 2 + i % 3) as i64];
        if tags {
            row.labels = row.tokens.iter().enumerate().map(|(place, token)| if place % 3 == 1 { -100 } else { token % 3 }).collect();
        } else if translate {
            row.labels = row.tokens.iter().rev().take(3 + i).copied().collect();
        }
    }
    all
}

/// The rows with a weight each: of a packed row for every token, else for the row.
fn weighted(case: &Case, mut rows: Vec<Row>, weights: &[f32]) -> Vec<Row> {
    for (row, weight) in rows.iter_mut().zip(weights) {
        let count = if case.collate.facts.layout == "packed" { row.tokens.len() } else { 1 };
        row.weights = vec![*weight; count];
    }
    rows
}

/// Sums and gradients of batches of rows, as a step of training has them; rows have the numbers of samples beside them.
fn learned(case: &Case, weights: bool, smoothing: f64, batches: &[Vec<(u64, Row)>]) -> (Sums, Vec<(String, Tensor)>) {
    let loaded = loaded(case.config.clone(), 3);
    let facts = Facts { weights, ..case.collate.facts.clone() };
    let collate = Collate { facts, ..case.collate.clone() };
    let filled = |rows: &Vec<(u64, Row)>| {
        let mut buffers = Buffers::default();
        buffers.fill(&collate, rows.iter().map(|(_, row)| row.clone()).collect(), rows.iter().map(|(sample, _)| *sample)).unwrap();
        buffers
    };
    let buffers: Vec<Buffers> = batches.iter().map(filled).collect();
    let scale = Ranks::single().counts(&buffers).unwrap().scale;
    let mut sums = Sums::default();
    for buffers in &buffers {
        let batch = Batch { smoothing, ..buffers.batch(Device::Cpu) };
        sums += objective::learn(loaded.network.as_ref(), &batch, scale, Mode::default()).unwrap();
    }
    (sums, gradients(&loaded.parameters))
}

fn numbered(rows: &[Row]) -> Vec<(u64, Row)> {
    (0..).zip(rows.iter().cloned()).collect()
}

fn same(name: &str, a: &[(String, Tensor)], b: &[(String, Tensor)], most: f64) {
    for ((variable, a), (_, b)) in a.iter().zip(b) {
        assert_eq!(a.defined(), b.defined(), "{name}: {variable}");
        let difference = if a.defined() { largest_difference(a, b) } else { 0.0 };
        assert!(difference <= most, "{name}: {variable}: {difference}");
    }
}

#[test]
fn equal_weights_change_no_bit() {
    let _alone = alone();
    for case in cases() {
        for smoothing in [0.0, 0.1] {
            let rows = rows_of(&case, 8);
            let (plain, a) = learned(&case, false, smoothing, &[numbered(&rows)]);
            let (sums, b) = learned(&case, true, smoothing, &[numbered(&weighted(&case, rows, &[0.3; 8]))]);
            same(case.name, &a, &b, 0.0);
            assert_eq!((sums.nll, sums.tally.pairs_nll, sums.count), (plain.nll, plain.tally.pairs_nll, plain.count), "{}", case.name);
            assert!(plain.tally.weighted.is_none());
            let weighted = sums.tally.scores(true)["weighted_loss"];
            assert!((weighted - plain.nll / plain.count as f64).abs() < 1e-6, "{}: {weighted}", case.name);
        }
    }
}

#[test]
fn a_weight_of_0_leaves_out_and_one_of_2_counts_twice() {
    let _alone = alone();
    for case in cases() {
        let rows = rows_of(&case, 4);
        let (_, without) = learned(&case, false, 0.0, &[numbered(&rows[..3])]);
        let (_, zero) = learned(&case, true, 0.0, &[numbered(&weighted(&case, rows.clone(), &[1.0, 1.0, 1.0, 0.0]))]);
        same(case.name, &without, &zero, 1e-6);
        let mut twice = numbered(&rows);
        twice.insert(1, (0, rows[0].clone()));
        let (_, twice) = learned(&case, false, 0.1, &[twice]);
        let (_, two) = learned(&case, true, 0.1, &[numbered(&weighted(&case, rows, &[2.0, 1.0, 1.0, 1.0]))]);
        same(case.name, &twice, &two, 2e-6);
    }
}

#[test]
fn weights_do_not_depend_on_batches() {
    let _alone = alone();
    let weights = [0.0, 1.0, 0.25, 7.0, 2.0, 0.5, 1.0, 3.0];
    for case in cases() {
        let rows = numbered(&weighted(&case, rows_of(&case, 8), &weights));
        let (whole, a) = learned(&case, true, 0.0, std::slice::from_ref(&rows));
        let (parts, b) = learned(&case, true, 0.0, &rows.chunks(2).map(<[(u64, Row)]>::to_vec).collect::<Vec<_>>());
        same(case.name, &a, &b, 1e-6);
        let [whole, parts] = [whole, parts].map(|sums| sums.tally.scores(true)["weighted_loss"]);
        assert!((whole - parts).abs() < 1e-5, "{}: {whole} {parts}", case.name);
    }
}

#[test]
fn nothing_is_learned_of_rows_that_weigh_nothing() {
    let _alone = alone();
    for case in cases() {
        let (sums, gradients) = learned(&case, true, 0.0, &[numbered(&weighted(&case, rows_of(&case, 2), &[0.0; 2]))]);
        assert!(
            gradients.iter().all(|(_, gradient)| !gradient.defined() || gradient.abs().max().double_value(&[]) == 0.0),
            "{}",
            case.name
        );
        assert!(sums.nll > 0.0 && !sums.tally.scores(true).contains_key("weighted_loss"), "{}", case.name);
    }
}

/// One packed row of two documents, against the loss written out.
#[test]
fn two_documents_of_a_row_count_each_its_own() {
    let _alone = alone();
    let tokens: Vec<i64> = vec![2, 10, 11, 12, 2, 20, 21, 2];
    // The context counts as the first document, which is tokens 1 to 4.
    let weights = vec![0.5, 0.5, 0.5, 0.5, 0.5, 3.0, 3.0, 3.0];
    let row = Row { tokens: tokens.clone(), weights: weights.clone(), ..Row::default() };
    let case = cases().remove(0);
    let (sums, found) = learned(&case, true, 0.0, &[numbered(std::slice::from_ref(&row))]);
    let plain = loaded(case.config.clone(), 3);
    let ids = Tensor::from_slice(&tokens[..7]).view([1, 7]);
    let logits = plain
        .network
        .features(&plain.network.hidden(&ids, &Seen::default(), 0.0))
        .view([7, 16])
        .linear(plain.network.output().weight, None::<&Tensor>);
    let nll = logits.cross_entropy_loss(&Tensor::from_slice(&tokens[1..]), None::<&Tensor>, tch::Reduction::None, -100, 0.0);
    let loss = (&nll * Tensor::from_slice(&weights[1..])).sum(Kind::Float) / (4.0 * 0.5 + 3.0 * 3.0);
    loss.backward();
    same("causal", &gradients(&plain.parameters), &found, 1e-6);
    let weighted = sums.tally.scores(true)["weighted_loss"];
    assert!((weighted - loss.double_value(&[])).abs() < 1e-6, "{weighted}");
    let of_tokens: Vec<f32> = nll.try_into().unwrap();
    let by_hand = (of_tokens[..4].iter().sum::<f32>() * 0.5 + of_tokens[4..].iter().sum::<f32>() * 3.0) / 11.0;
    assert!((weighted - f64::from(by_hand)).abs() < 1e-6, "{weighted} {by_hand}");
    // Tried and not learned from, it is the same.
    let facts = Facts { weights: true, ..facts("packed") };
    let batch = filled(Collate { facts, masking: None, denoising: None, documents: false }, &[row]);
    let tried = objective::evaluate(plain.network.as_ref(), &batch, false).unwrap();
    assert!((tried.tally.scores(false)["weighted_loss"] - weighted).abs() < 1e-6);
    assert!((tried.nll - sums.nll).abs() < 1e-5);
}

#[test]
fn documents_are_told_apart_in_masks_and_cut_out_spans() {
    let _alone = alone();
    let weights: Vec<f32> = (0..18).map(|place| if place < 9 { 1.0 } else { 5.0 }).collect();
    let row = Row { weights: weights.clone(), ..rows(5).remove(4) };
    assert_eq!(row.tokens.len(), 18);
    let of = |index: usize| {
        let case = cases().remove(index);
        let facts = Facts { weights: true, ..case.collate.facts.clone() };
        let batch = filled(Collate { facts, ..case.collate }, std::slice::from_ref(&row));
        let weights = Vec::<f32>::try_from(&batch.weights.as_ref().unwrap().targets).unwrap();
        let Targets::Tokens { places, labels } = &batch.targets else { panic!("tokens are predicted") };
        let places: Option<Vec<i64>> = places.as_ref().map(|places| places.try_into().unwrap());
        (weights, places, Vec::<i64>::try_from(labels).unwrap())
    };
    let (found, places, _) = of(1);
    assert_eq!(found, places.unwrap().iter().map(|place| weights[*place as usize]).collect::<Vec<_>>());
    // Tokens of the target are those of the row in their order; a sentinel counts as the token after it, the end as the one before.
    let (found, _, labels) = of(4);
    let mut from = 0;
    let mut expected: Vec<Option<f32>> = Vec::new();
    for label in &labels {
        expected.push((*label < 47 && *label != 2).then(|| {
            from += row.tokens[from..].iter().position(|token| token == label).unwrap() + 1;
            weights[from - 1]
        }));
    }
    assert!(expected.iter().flatten().count() >= 2, "{labels:?}");
    for (i, found) in found.iter().enumerate() {
        let known =
            expected[i].or_else(|| expected[i..].iter().flatten().next().copied()).or(expected[..i].iter().flatten().last().copied());
        assert_eq!(Some(*found), known, "{labels:?}");
    }
}
