//! Writing texts: searches and draws beside plain ones without cache, batch or shortcut.

use model::Decoding;
use text::Tokenizer;

use super::*;
use crate::decode::{self, Start, Writer};
use crate::generate::{Completion, End, Ends, How, complete};

/// A network whose choices differ from place to place.
fn network() -> Loaded {
    let loaded = loaded(config(Family::Gpt, Head::Causal), 9);
    tch::no_grad(|| loaded.parameters.tensors().into_iter().filter(|x| x.dim() == 2).for_each(|mut x| drop(x.g_mul_scalar_(12.0))));
    loaded
}

fn ends(eos: &[i64]) -> Ends {
    Ends { eos: eos.to_vec(), ..Ends::default() }
}

fn prompts() -> Vec<Vec<i64>> {
    rows(6).into_iter().map(|row| row.tokens[..3 + row.tokens.len() % 4].to_vec()).collect()
}

fn write(loaded: &Loaded, prompts: &[Vec<i64>], numbers: &[u64], decoding: &Decoding) -> Vec<Completion> {
    complete(loaded, prompts, numbers, &How { decoding, ends: &ends(&[2]), tokenizer: None, watch: None, slides: false }).unwrap()
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
        let ends = ends(&[]);
        let how = How { decoding: &decoding, ends: &ends, tokenizer: None, watch: None, slides: false };
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
            let ends = ends(&[2]);
            let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&tokenizer), watch: None, slides: false };
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

/// A network whose next token depends on the last one alone: the likelihoods after each token, and, in the last row, at the beginning.
struct Toy(Tensor);

impl Toy {
    fn new(likelihoods: &[&[f64]]) -> Toy {
        Toy(Tensor::stack(&likelihoods.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0).log().to_kind(Kind::Float))
    }

    /// The text with the best sum of log-likelihoods over length^penalty.
    fn best(&self, how: &How, tokens_max: usize) -> (f64, Vec<i64>, End) {
        let mut open: Vec<(f64, Vec<i64>)> = vec![(0.0, Vec::new())];
        let mut best = (f64::NEG_INFINITY, Vec::new(), End::Length);
        for length in 1..=tokens_max {
            for (sum, ids) in std::mem::take(&mut open) {
                for token in 0..self.0.size()[1] {
                    let after = ids.last().copied().unwrap_or(self.0.size()[0] - 1);
                    let sum = sum + self.0.double_value(&[after, token]);
                    let is_end = how.ends.eos.contains(&token);
                    let ids = if is_end { ids.clone() } else { [&ids[..], &[token]].concat() };
                    let end = match (is_end, !is_end && how.stops(&ids).unwrap()) {
                        (true, _) => End::Eos,
                        (_, true) => End::Stop,
                        _ if length == tokens_max => End::Length,
                        _ => {
                            open.push((sum, ids));
                            continue;
                        }
                    };
                    let worth = sum / (length as f64).powf(how.decoding.length_penalty);
                    if worth > best.0 {
                        best = (worth, ids, end);
                    }
                }
            }
        }
        best
    }

    fn written(&self, how: &How, tokens_max: usize) -> Completion {
        let start = Start { seen: Vec::new(), number: 0, tokens_max };
        let first = Tensor::from_slice(&[self.0.size()[0] - 1]).unsqueeze(0);
        decode::write(&mut Toy(self.0.shallow_clone()), &first, vec![start], how).unwrap().remove(0)
    }
}

impl Writer for Toy {
    fn next(&mut self, ids: &Tensor) -> anyhow::Result<Tensor> {
        Ok(self.0.index_select(0, &ids.select(1, -1)))
    }

    fn select(&mut self, _: &Tensor) {}
}

fn words(vocabulary: usize, special: &[usize]) -> (tempfile::TempDir, Tokenizer) {
    let dir = tempfile::tempdir().unwrap();
    let all: serde_json::Map<String, serde_json::Value> = (0..vocabulary).map(|id| (format!("w{id}"), json!(id))).collect();
    let added = |id: &usize| {
        let flags = json!({"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
        let mut token = json!({"id": id, "content": format!("w{id}")});
        token.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        token
    };
    let added: Vec<serde_json::Value> = special.iter().map(added).collect();
    let file = json!({"version": "1.0", "added_tokens": added, "model": {"type": "WordLevel", "vocab": all, "unk_token": "w0"}});
    std::fs::write(dir.path().join("tokenizer.json"), file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    (dir, tokenizer)
}

#[test]
fn beams_that_hold_all_beginnings_find_the_best_text_whatever_ends_texts() {
    let (_dir, tokenizer) = words(5, &[]);
    // Most beginnings end: by the tokens 2 and 3, or by two others one after another.
    let toys = [
        Toy::new(&[
            &[0.1, 0.5, 0.2, 0.1, 0.1],
            &[0.3, 0.2, 0.1, 0.15, 0.25],
            &[0.2; 5],
            &[0.2; 5],
            &[0.2; 5],
            &[0.25, 0.05, 0.3, 0.35, 0.05],
        ]),
        Toy::new(&[
            &[0.02, 0.02, 0.02, 0.04, 0.9],
            &[0.6, 0.1, 0.1, 0.1, 0.1],
            &[0.2; 5],
            &[0.2; 5],
            &[0.1, 0.3, 0.25, 0.2, 0.15],
            &[0.25, 0.3, 0.1, 0.25, 0.1],
        ]),
    ];
    for (toy, length_penalty) in toys.iter().flat_map(|toy| [0.0, 1.0, 2.0].map(|penalty| (toy, penalty))) {
        for (stop, eos) in [(vec!["w2", "w3", "w0 w1"], vec![4]), (vec!["w3", "w1 w0"], vec![2, 4]), (vec!["w1"], vec![])] {
            let stop = stop.into_iter().map(str::to_string).collect();
            let decoding = Decoding { beams: 200, length_penalty, stop, ..Decoding::default() };
            let ends = ends(&eos);
            let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&tokenizer), watch: None, slides: false };
            let (found, (worth, ids, end)) = (toy.written(&how, 3), toy.best(&how, 3));
            assert_eq!((&found.ids, found.end), (&ids, end), "{decoding:?}, {eos:?}");
            let length = found.ids.len() + usize::from(found.end == End::Eos);
            assert!((found.log_likelihood / (length as f64).powf(length_penalty) - worth).abs() < 1e-5);
        }
    }
}

#[test]
fn a_search_goes_on_while_one_beginning_can() {
    let (_dir, tokenizer) = words(7, &[]);
    // Of the six likeliest tokens at the beginning only the first goes on, almost surely to the end.
    let rest = [0.01, 0.01, 0.01, 0.01, 0.01, 0.9, 0.05];
    let toy = Toy::new(&[&rest, &rest, &rest, &rest, &rest, &rest, &rest, &[0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02]]);
    let stop = ["w1", "w2", "w3", "w4"].map(str::to_string).to_vec();
    let decoding = Decoding { beams: 3, stop, ..Decoding::default() };
    let ends = ends(&[5]);
    let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&tokenizer), watch: None, slides: false };
    let found = toy.written(&how, 5);
    assert_eq!((found.ids, found.end), (vec![0], End::Eos));
    assert!((found.log_likelihood - (0.4_f64 * 0.9).ln()).abs() < 1e-5);
}

#[test]
fn special_tokens_stop_a_text_and_padding_stands_in_none() {
    let (_dir, tokenizer) = words(5, &[0, 3, 4]);
    let likely = |first: f64, second: f64| [first, second, 0.01, 0.01, 0.01];
    let (after_one, after_two) = ([0.6, 0.1, 0.2, 0.05, 0.05], [0.5, 0.01, 0.01, 0.4, 0.08]);
    let toy = Toy::new(&[&[0.2; 5], &after_one, &after_two, &[0.2; 5], &[0.2; 5], &likely(0.6, 0.37)]);
    let config =
        NetworkConfig { special: SpecialTokens { pad: Some(0), bos: None, eos: Some(4) }, ..config(Family::Seq2seq, Head::Causal) };
    for beams in [1, 2] {
        let decoding = Decoding { beams, stop: vec!["w3".into(), "no".into()], length_penalty: 0.0, ..Decoding::default() };
        let ends = Ends::new(vec![4], &decoding, &tokenizer, &config);
        assert_eq!(ends, Ends { eos: vec![4], stop: vec![3], never: vec![0] });
        let how = How { decoding: &decoding, ends: &ends, tokenizer: Some(&tokenizer), watch: None, slides: false };
        let found = toy.written(&how, 8);
        // Padding would be likelier each time; the likelihood stays the network's.
        assert_eq!((&found.ids[..], found.end), (&[1, 2, 3][..], End::Stop), "{beams}");
        assert!((found.log_likelihood - (0.37_f64 * 0.2 * 0.4).ln()).abs() < 1e-5);
        assert_eq!(how.text(&tokenizer, &found.ids).unwrap(), "w1 w2");
    }
    // Of a causal network padding may be what ends a text.
    let ends = Ends::new(vec![0], &Decoding::default(), &tokenizer, &NetworkConfig { family: Family::Gpt, ..config });
    assert_eq!(ends, Ends { eos: vec![0], ..Ends::default() });
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
        let ends = ends(&[]);
        let how = How { decoding: &decoding, ends: &ends, tokenizer: None, watch: None, slides: true };
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
