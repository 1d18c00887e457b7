//! Writing texts: searches and draws beside plain ones without cache, batch or shortcut.

use model::Decoding;
use text::Tokenizer;

use super::*;
use crate::generate::{Completion, End, How, complete};

/// A network whose choices differ from place to place.
fn network() -> Loaded {
    let loaded = loaded(config(Family::Gpt, Head::Causal), 9);
    tch::no_grad(|| loaded.parameters.tensors().into_iter().filter(|x| x.dim() == 2).for_each(|mut x| drop(x.g_mul_scalar_(12.0))));
    loaded
}

fn prompts() -> Vec<Vec<i64>> {
    rows(6).into_iter().map(|row| row.tokens[..3 + row.tokens.len() % 4].to_vec()).collect()
}

fn write(loaded: &Loaded, prompts: &[Vec<i64>], numbers: &[u64], decoding: &Decoding) -> Vec<Completion> {
    complete(loaded, prompts, numbers, &How { decoding, eos: 2, tokenizer: None, watch: None, slides: false }).unwrap()
}

/// Logits (vocabulary) of what follows tokens.
fn logits(loaded: &Loaded, ids: &[i64]) -> Tensor {
    let hidden = tch::no_grad(|| loaded.network.hidden(&Tensor::from_slice(ids).unsqueeze(0), &Seen::default(), 0.0));
    hidden.select(0, 0).select(0, -1).unsqueeze(0).linear(loaded.network.output().weight, None::<&Tensor>).squeeze_dim(0)
}

/// The log-likelihood of tokens after a prompt.
fn likelihood(loaded: &Loaded, prompt: &[i64], ids: &[i64]) -> f64 {
    let place = |place: usize| {
        let likely = logits(loaded, &[prompt, &ids[..place]].concat()).log_softmax(-1, Kind::Float);
        likely.double_value(&[ids[place]])
    };
    (0..ids.len()).map(place).sum()
}

#[test]
fn beams_that_hold_all_beginnings_find_the_likeliest_text() {
    let _alone = alone();
    let loaded = loaded(config(Family::Gpt, Head::Causal), 9);
    let decoding = Decoding { beams: VOCABULARY as u64, max_new_tokens: 2, ..Decoding::default() };
    for prompt in prompts() {
        let how = How { decoding: &decoding, eos: -1, tokenizer: None, watch: None, slides: false };
        let found = complete(&loaded, std::slice::from_ref(&prompt), &[0], &how).unwrap().remove(0);
        let first = logits(&loaded, &prompt).log_softmax(-1, Kind::Float);
        let sums: Vec<Tensor> = (0..VOCABULARY)
            .map(|token| logits(&loaded, &[prompt.clone(), vec![token]].concat()).log_softmax(-1, Kind::Float) + first.get(token))
            .collect();
        let all = Tensor::stack(&sums, 0); // (first token, second token)
        let best = all.view([-1]).argmax(-1, false).int64_value(&[]);
        assert_eq!(found.ids, [best / VOCABULARY, best % VOCABULARY]);
        assert!((found.log_likelihood - all.max().double_value(&[])).abs() < 1e-5);
    }
}

#[test]
fn log_likelihoods_are_those_of_the_network_however_a_text_was_written() {
    let _alone = alone();
    let loaded = network();
    let drawn = Decoding { temperature: Some(1.5), top_k: Some(20), ..Decoding::default() };
    let all = [
        Decoding::default(),
        Decoding { beams: 3, ..Decoding::default() },
        Decoding { repetition_penalty: 1.3, ..Decoding::default() },
        drawn,
    ];
    for decoding in all {
        let decoding = Decoding { max_new_tokens: 9, ..decoding };
        for (prompt, found) in prompts().iter().zip(write(&loaded, &prompts(), &[0, 1, 2, 3, 4, 5], &decoding)) {
            let end = if found.end == End::Eos { vec![2] } else { Vec::new() };
            let expected = likelihood(&loaded, prompt, &[found.ids.clone(), end].concat());
            assert!((found.log_likelihood - expected).abs() < 1e-4, "{decoding:?}: {} {expected}", found.log_likelihood);
            assert!(found.end == End::Eos || found.ids.len() == 9, "{found:?}");
        }
    }
}

#[test]
fn what_is_drawn_depends_on_seed_and_number_alone() {
    let _alone = alone();
    let loaded = network();
    let decoding = |seed| Decoding { temperature: Some(3.0), top_p: Some(0.95), max_new_tokens: 8, seed, ..Decoding::default() };
    let numbers = [10, 11, 12, 13, 14, 15];
    let together = write(&loaded, &prompts(), &numbers, &decoding(1));
    let ids = |found: &[Completion]| found.iter().map(|one| one.ids.clone()).collect::<Vec<_>>();
    for ((prompt, number), expected) in prompts().into_iter().zip(numbers).zip(&together) {
        assert_eq!(write(&loaded, &[prompt], &[number], &decoding(1))[0].ids, expected.ids);
    }
    assert_ne!(ids(&write(&loaded, &prompts(), &numbers, &decoding(2))), ids(&together));
    assert_ne!(ids(&write(&loaded, &prompts(), &[0, 1, 2, 3, 4, 5], &decoding(1))), ids(&together));
    let one = Decoding { top_k: Some(1), ..decoding(1) };
    assert_eq!(
        ids(&write(&loaded, &prompts(), &numbers, &one)),
        ids(&write(&loaded, &prompts(), &numbers, &Decoding { max_new_tokens: 8, ..Decoding::default() }))
    );
}

#[test]
fn tokens_that_were_seen_are_punished() {
    let _alone = alone();
    let loaded = network();
    let decoding = Decoding { repetition_penalty: 2.0, max_new_tokens: 8, ..Decoding::default() };
    for (prompt, found) in prompts().iter().zip(write(&loaded, &prompts(), &[0; 6], &decoding)) {
        let mut ids = prompt.clone();
        for _ in 0..8 {
            let mut scores = Vec::<f32>::try_from(logits(&loaded, &ids)).unwrap();
            let seen: std::collections::BTreeSet<i64> = ids.iter().copied().collect();
            for token in seen {
                let score = &mut scores[token as usize];
                *score = if *score > 0.0 { *score / 2.0 } else { *score * 2.0 };
            }
            let next = crate::predict::argmax(&scores) as i64;
            if next == 2 {
                break;
            }
            ids.push(next);
        }
        assert_eq!(found.ids, ids[prompt.len()..]);
    }
}

#[test]
fn a_text_ends_before_what_it_stops_at() {
    let _alone = alone();
    let loaded = network();
    let dir = tempfile::tempdir().unwrap();
    let vocabulary: serde_json::Map<String, serde_json::Value> = (0..VOCABULARY).map(|id| (format!("w{id}."), json!(id))).collect();
    let file = json!({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0."}});
    std::fs::write(dir.path().join("tokenizer.json"), file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let greedy = write(&loaded, &prompts(), &[0; 6], &Decoding { max_new_tokens: 8, ..Decoding::default() });
    let mut stopped = 0;
    for (prompt, greedy) in prompts().into_iter().zip(greedy) {
        let Some(token) = greedy.ids.get(3) else { continue };
        let first = greedy.ids.iter().position(|other| other == token).unwrap();
        for beams in [1, 2] {
            let decoding = Decoding { max_new_tokens: 8, beams, stop: vec!["nowhere".into(), format!("w{token}.")], ..Decoding::default() };
            let how = How { decoding: &decoding, eos: 2, tokenizer: Some(&tokenizer), watch: None, slides: false };
            let found = complete(&loaded, std::slice::from_ref(&prompt), &[0], &how).unwrap().remove(0);
            let text = how.text(&tokenizer, &found.ids).unwrap();
            assert!(!text.contains(&decoding.stop[1]), "{text}");
            // Only the last token of a text can be the one to stop at.
            assert!(!found.ids[..found.ids.len().saturating_sub(1)].contains(token), "{found:?}");
            if beams == 1 {
                assert_eq!((&found.ids[..], found.end), (&greedy.ids[..first + 1], End::Stop));
                let before: Vec<String> = greedy.ids[..first].iter().map(|id| format!("w{id}.")).collect();
                assert_eq!(text.trim_end(), before.join(" "));
                stopped += 1;
            }
        }
    }
    assert!(stopped > 0, "no text was long enough");
}

#[test]
fn a_window_slides_over_a_text_that_is_longer_than_the_model() {
    let _alone = alone();
    let loaded = network();
    let positions = loaded.config.positions as usize;
    let last = |ids: &[i64]| ids[ids.len().saturating_sub(positions)..].to_vec();
    let prompts = [&prompts()[..], &[(5..5 + 24).collect(), (7..7 + 20).collect()]].concat();
    for beams in [1, 3] {
        let decoding = Decoding { max_new_tokens: 40, beams, ..Decoding::default() };
        let how = How { decoding: &decoding, eos: -1, tokenizer: None, watch: None, slides: true };
        let found = complete(&loaded, &prompts, &vec![0; prompts.len()], &how).unwrap();
        for (prompt, found) in prompts.iter().zip(found) {
            let (mut ids, mut sum) = (prompt.clone(), 0.0);
            for token in &found.ids {
                let likely = logits(&loaded, &last(&ids)).log_softmax(-1, Kind::Float);
                assert!(
                    beams > 1 || likely.argmax(-1, false).int64_value(&[]) == *token,
                    "token {} after {} of the prompt",
                    ids.len(),
                    prompt.len()
                );
                sum += likely.double_value(&[*token]);
                ids.push(*token);
            }
            assert_eq!((found.ids.len(), found.end), (40, End::Length));
            assert!((found.log_likelihood - sum).abs() < 1e-3, "{} {sum}", found.log_likelihood);
        }
    }
}
