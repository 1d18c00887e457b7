//! The layouts `tag` and `answer`.

use super::*;

const CITY: &str = r#"["北京", "很", "好", "lima", "foxes"]"#;

fn tag(documents: Vec<Value>, more: Value) -> (tempfile::TempDir, Artifact) {
    let mut settings = json!({"layout": "tag", "model": "masked", "words": "words", "tags": "tags"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run(1, &[documents], &vocabulary(TOKENS), settings).unwrap()
}

#[test]
fn tags_stand_at_the_first_token_of_a_word() {
    let documents = vec![
        json!({"words": CITY, "tags": "B-LOC O O B-LOC B-PER"}),
        json!({"words": "the dog", "tags": r#"["O", "O"]"#}),
        json!({"words": "[ the ]", "tags": "O B-PER I-PER"}),
    ];
    let (_dir, artifact) = tag(documents.clone(), json!({}));
    assert_eq!(artifact.fact::<Vec<String>>("classes").unwrap(), ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]);
    assert_eq!(
        rows(&artifact, &["labels", "words"]),
        [
            "[CLS] 北 京 很 好 li ##ma fox ##es [SEP] | -100 0 -100 4 4 0 -100 1 -100 -100 | -1 0 0 1 2 3 3 4 4 -1",
            "[CLS] the dog [SEP] | -100 4 4 -100 | -1 0 1 -1",
            "[CLS] [UNK] the [UNK] [SEP] | -100 4 1 3 -100 | -1 0 1 2 -1",
        ]
    );
    assert_eq!(artifact.fact::<String>("tag_scheme").unwrap(), "iob2");

    // With all tokens labelled, an entity goes over the tokens of its words.
    let (_dir, artifact) = tag(documents, json!({"label_all": true, "scheme": "bilou"}));
    let classes = ["B-LOC", "B-PER", "I-LOC", "I-PER", "L-LOC", "L-PER", "O", "U-LOC", "U-PER"];
    assert_eq!(artifact.fact::<Vec<String>>("classes").unwrap(), classes);
    assert_eq!(
        rows(&artifact, &["labels"]),
        [
            "[CLS] 北 京 很 好 li ##ma fox ##es [SEP] | -100 0 4 6 6 0 4 1 5 -100",
            "[CLS] the dog [SEP] | -100 6 6 -100",
            "[CLS] [UNK] the [UNK] [SEP] | -100 6 1 5 -100",
        ]
    );
}

/// A tokenizer for causal models.
fn with_end() -> Value {
    let mut tokenizer = vocabulary(&format!("{TOKENS} <|endoftext|>"));
    let mut end = tokenizer["added_tokens"][0].clone();
    (end["id"], end["content"]) = (json!(5 + TOKENS.split(' ').count()), json!("<|endoftext|>"));
    tokenizer["added_tokens"].as_array_mut().unwrap().push(end);
    tokenizer
}

#[test]
fn tags_and_answers_for_causal_models_end_as_texts_do() {
    let documents = vec![json!({"words": CITY, "tags": "B-LOC O O B-LOC B-PER"})];
    let settings = json!({"layout": "tag", "model": "causal", "words": "words", "tags": "tags"});
    let (_dir, artifact) = run(1, &[documents], &with_end(), settings).unwrap();
    let expected = "北 京 很 好 li ##ma fox ##es <|endoftext|> | 0 -100 4 4 0 -100 1 -100 -100 | 0 0 1 2 3 3 4 4 -1";
    assert_eq!(rows(&artifact, &["labels", "words"]), [expected]);

    let documents = vec![question(json!("北京"), json!(0)), question(json!(""), json!(null))];
    let settings = json!({"layout": "answer", "model": "causal", "question": "question", "answer": "answer", "answer_start": "start"});
    let (_dir, artifact) = run(1, &[documents], &with_end(), settings).unwrap();
    let tokens = "很 好 <|endoftext|> 北 京 很 好 。 the fox run ##s . <|endoftext|>";
    assert_eq!(
        rows(&artifact, &["has_answer", "start_token", "end_token", "starts"]),
        [
            format!("{tokens} | true | 3 | 4 | -1 -1 -1 0 1 2 3 4 5 9 13 16 17 -1"),
            // Without an answer, where all has been seen.
            format!("{tokens} | false | 13 | 13 | -1 -1 -1 0 1 2 3 4 5 9 13 16 17 -1"),
        ]
    );
}

#[test]
fn texts_for_encoder_and_decoder_end_and_a_question_without_an_answer_points_at_its_first_token() {
    let settings = |layout: Value| {
        let mut settings = json!({"model": "encoder-decoder"});
        settings.as_object_mut().unwrap().extend(layout.as_object().unwrap().clone());
        settings
    };
    let documents = vec![json!({"text": "the fox", "second": "北京", "label": "a", "words": "the foxes", "tags": "O B-X"})];
    let classify = settings(json!({"layout": "classify", "label": "label", "text_pair": "second"}));
    let (_dir, artifact) = run(1, std::slice::from_ref(&documents), &with_end(), classify).unwrap();
    assert_eq!(rows(&artifact, &["segments", "label"]), ["the fox <|endoftext|> 北 京 <|endoftext|> | 0 0 0 1 1 1 | 0"]);
    let tag = settings(json!({"layout": "tag", "words": "words", "tags": "tags"}));
    let (_dir, artifact) = run(1, &[documents], &with_end(), tag).unwrap();
    assert_eq!(rows(&artifact, &["labels", "words"]), ["the fox ##es <|endoftext|> | 2 0 -100 -100 | 0 1 1 -1"]);

    let documents = vec![question(json!("北京"), json!(0)), question(json!(""), json!(null))];
    let answer = settings(json!({"layout": "answer", "question": "question", "answer": "answer", "answer_start": "start"}));
    let (_dir, artifact) = run(1, &[documents], &with_end(), answer).unwrap();
    let tokens = "很 好 <|endoftext|> 北 京 很 好 。 the fox run ##s . <|endoftext|>";
    let expected = [format!("{tokens} | true | 3 | 4"), format!("{tokens} | false | 0 | 0")];
    assert_eq!(rows(&artifact, &["has_answer", "start_token", "end_token"]), expected);
}

#[test]
fn a_row_that_is_cut_stays_a_right_sequence() {
    let documents = vec![json!({"words": ["the", "foxes", "run", "北京", "好"], "tags": ["O", "B-X", "I-X", "I-X", "E-X"]})];
    let (_dir, artifact) = tag(documents, json!({"scheme": "iobes", "sequence_length": 8}));
    // Classes: B-X, E-X, I-X, O, S-X.
    assert_eq!(rows(&artifact, &["labels"]), ["[CLS] the fox ##es run 北 京 [SEP] | -100 3 0 -100 2 1 -100 -100"]);
    assert_eq!((count(&artifact, "tokens_cut"), count(&artifact, "tokens_stored")), (1, 8));
    assert_eq!(count(&artifact, "words_cut"), 1);
    assert_eq!(artifact.fact::<String>("tag_scheme").unwrap(), "iobes");
}

#[test]
fn schemes_are_told_by_the_rows_that_fit() {
    let documents = |tags: &[&str]| tags.iter().map(|tags| json!({"words": "the fox runs", "tags": tags})).collect::<Vec<_>>();
    let check = |tags: &[&str], scheme: &str, expected: &[&str]| {
        let (dir, artifact) = tag(documents(tags), json!({}));
        assert_eq!(artifact.fact::<String>("tag_scheme").unwrap(), scheme);
        let found: Vec<String> = rows(&artifact, &["labels"]).iter().map(|row| row.split(" | ").nth(1).unwrap().to_string()).collect();
        assert_eq!(found, expected);
        (dir, artifact)
    };
    // B-X is 0, I-X is 1, O is 2; `runs` is two tokens.
    check(&["I-X B-X O", "O O O"], "iob1", &["-100 0 0 2 -100 -100", "-100 2 2 2 -100 -100"]);
    check(&["B-X B-X O", "O O O"], "iob2", &["-100 0 0 2 -100 -100", "-100 2 2 2 -100 -100"]);
    check(&["U-X B-X L-X"], "bilou", &["-100 0 0 1 -100 -100"]);
    let (_dir, artifact) = check(&["S-X B-X E-X", "O O S-X", "I-X O O"], "iobes", &["-100 0 0 1 -100 -100", "-100 2 2 0 -100 -100"]);
    assert_eq!(rejected(&artifact), ["wrong_tags: word 1: `I-X` stands first, which iobes does not allow"]);
    let (_dir, artifact) = tag(documents(&["I-X B-X O", "O O O"]), json!({"tag_scheme": "iob2"}));
    assert_eq!(rejected(&artifact), ["wrong_tags: word 1: `I-X` stands first, which iob2 does not allow"]);
}

#[test]
fn words_without_tokens_and_broken_rows() {
    let documents = vec![
        json!({"words": ["the", "\u{200b}", "fox"], "tags": ["B-X", "O", "B-X"]}),
        json!({"words": ["the", "\u{200b}", "fox"], "tags": ["B-X", "I-X", "I-X"]}),
        json!({"words": ["the", "\u{200b}", "\u{200b}"], "tags": ["O", "B-X", "I-X"]}),
        json!({"words": ["\u{200b}"], "tags": ["O"]}),
        json!({"words": ["the"], "tags": ["O", "O"]}),
        json!({"words": null, "tags": ["O"]}),
        json!({"words": ["the"], "tags": null}),
        json!({"words": [], "tags": []}),
        json!({"words": ["the", null], "tags": ["O", "O"]}),
    ];
    let (_dir, artifact) = tag(documents, json!({"scheme": "iob1"}));
    // The entities still do not touch: the word between them is gone, so the second has to begin with B.
    assert_eq!(
        rows(&artifact, &["labels", "words"]),
        ["[CLS] the fox [SEP] | -100 1 0 -100 | -1 0 2 -1", "[CLS] the fox [SEP] | -100 1 1 -100 | -1 0 2 -1"]
    );
    assert_eq!(count(&artifact, "words_without_tokens"), 2);
    assert_eq!(
        rejected(&artifact),
        [
            "entity_without_token: word 2, `\u{200b}`, has the tag `B-X` and gives no token",
            "no_tokens",
            "lengths_differ: 1 words, 2 tags",
            "no_words",
            "no_tags",
            "no_words",
            "broken_list: words: item 2 is null",
        ]
    );
}

/// Labels say of each word what its tag said, over real sentences.
#[test]
fn real_tags_align_with_their_words() {
    let sentences = sample("tags/hironsan");
    let learn = json!({"kind": "wordpiece", "vocabulary_size": 1600});
    let settings = json!({"layout": "tag", "model": "masked", "words": "words", "tags": "tags", "sequence_length": 256});
    let (_dir, artifact) = run(2, &[sentences[..300].to_vec(), sentences[300..].to_vec()], &learn, settings.clone()).unwrap();
    let classes: Vec<String> = artifact.fact("classes").unwrap();
    let tokenizer = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap();
    let reader = reader(&artifact);
    for row in 0..reader.rows() {
        let sentence = &sentences[u128::from_le_bytes(reader.id(row).unwrap()) as usize - 1];
        let (Cell::Int32s(labels), Cell::Int32s(words)) = (reader.value(row, "labels").unwrap(), reader.value(row, "words").unwrap())
        else {
            panic!("lists were written")
        };
        let tokens = tokens_of(&reader, row);
        assert_eq!((tokens.len(), tokens.len()), (labels.len(), words.len()));
        for (number, (word, tag)) in sentence["words"].as_array().unwrap().iter().zip(sentence["tags"].as_array().unwrap()).enumerate() {
            let places: Vec<usize> = (0..words.len()).filter(|place| words[*place] == number as i32).collect();
            let own: Vec<u32> = places.iter().map(|place| tokens[*place] as u32).collect();
            assert_eq!(own, tokenizer.encode(word.as_str().unwrap()).unwrap());
            let found: Vec<&str> =
                places.iter().filter(|place| labels[**place] >= 0).map(|place| classes[labels[*place] as usize].as_str()).collect();
            assert_eq!(found, if own.is_empty() { vec![] } else { vec![tag.as_str().unwrap()] });
        }
    }
    // Two sentences in which `I` goes on from another type.
    assert_eq!((reader.rows(), count(&artifact, "documents_rejected")), (498, 2));
    let (_dir, again) = run(1, &[sentences[..300].to_vec(), sentences[300..].to_vec()], &learn, settings).unwrap();
    assert_eq!(again.manifest.fingerprint, artifact.manifest.fingerprint);
}

fn answer(documents: Vec<Value>, more: Value) -> (tempfile::TempDir, Artifact) {
    let mut settings = json!({"layout": "answer", "model": "masked", "question": "question", "answer": "answer", "answer_start": "start"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run(1, &[documents], &vocabulary(TOKENS), settings).unwrap()
}

const CONTEXT: &str = "北京很好。the fox runs.";

fn question(answer: Value, start: Value) -> Value {
    json!({"text": CONTEXT, "question": "很好", "answer": answer, "start": start})
}

#[test]
fn answers_are_tokens_of_their_windows() {
    let (_dir, artifact) = answer(vec![question(json!("北京"), json!(0))], json!({}));
    assert_eq!(
        rows(&artifact, &["segments", "has_answer", "start_token", "end_token", "start", "starts", "ends"]),
        [concat!(
            "[CLS] 很 好 [SEP] 北 京 很 好 。 the fox run ##s . [SEP] | 0 0 0 0 1 1 1 1 1 1 1 1 1 1 1 | true | 4 | 5 | 0",
            " | -1 -1 -1 -1 0 1 2 3 4 5 9 13 16 17 -1 | -1 -1 -1 -1 1 2 3 4 5 8 12 16 17 18 -1"
        )]
    );
    let windows = json!({"sequence_length": 12, "question_length": 2, "stride": 2});
    let (_dir, artifact) = answer(vec![question(json!("runs"), json!(13))], windows);
    assert_eq!(
        rows(&artifact, &["has_answer", "start_token", "end_token", "start"]),
        [
            "[CLS] 很 好 [SEP] 北 京 很 好 。 the fox [SEP] | false | 0 | 0 | 0",
            "[CLS] 很 好 [SEP] the fox run ##s . [SEP] | true | 6 | 7 | 5",
        ]
    );
    assert_eq!((count(&artifact, "tokens_stored"), count(&artifact, "tokens_repeated"), count(&artifact, "documents_stored")), (15, 7, 1));
    assert_eq!(statistics(&artifact), [1, 1, 0, 0]);
    let (_dir, artifact) = answer(vec![question(json!("runs"), json!(13))], json!({"question_length": 1}));
    assert_eq!(rows(&artifact, &["start_token"]), ["[CLS] 很 [SEP] 北 京 很 好 。 the fox run ##s . [SEP] | 10"]);
    assert_eq!(count(&artifact, "tokens_cut"), 1);
}

#[test]
fn questions_may_have_no_answer_but_no_wrong_one() {
    let documents = vec![
        question(json!(""), json!(null)),
        question(json!(null), json!(3)),
        question(json!(" fox "), json!(8)),
        question(json!("un"), json!(14)),
        question(json!("fox"), json!(8)),
        question(json!("fox"), json!(99)),
        question(json!("fox"), json!(-1)),
        question(json!("fox"), json!(null)),
        question(json!("fox"), json!(8.5)),
        question(json!(" "), json!(8)),
        json!({"text": "", "question": "很", "answer": "", "start": null}),
        json!({"text": CONTEXT, "question": null, "answer": "", "start": null}),
    ];
    let (_dir, artifact) = answer(documents, json!({}));
    let found: Vec<String> = rows(&artifact, &["has_answer", "start_token", "end_token"])
        .iter()
        .map(|row| row.split_once(" | ").unwrap().1.to_string())
        .collect();
    assert_eq!(found, ["false | 0 | 0", "false | 0 | 0", "true | 10 | 10", "true | 11 | 11"]);
    assert_eq!(count(&artifact, "questions_without_answer"), 2);
    assert_eq!(
        rejected(&artifact),
        [
            "wrong_answer: at character 8 stands ` fo`, not `fox`",
            "wrong_answer: `fox` begins at character 99, outside of the context",
            "wrong_answer: `fox` begins at character -1, outside of the context",
            "wrong_answer: `fox` begins at null, which is no character",
            "wrong_answer: `fox` begins at `8.5`, which is no character",
            "wrong_answer: ` ` gives no token",
            "no_context",
            "no_question",
        ]
    );
}

#[test]
fn of_several_answers_the_first_counts() {
    let expected = ["true | 4 | 5", "false | 0 | 0"];
    let nested = vec![question(json!(["北京", "fox"]), json!([0, 9])), question(json!([]), json!([]))];
    let texts = vec![question(json!("[\"北京\", \"fox\"]"), json!("[0, 9]")), question(json!("[]"), json!("[]"))];
    for documents in [nested, texts] {
        let (_dir, artifact) = answer(documents, json!({}));
        let found: Vec<String> = rows(&artifact, &["has_answer", "start_token", "end_token"])
            .iter()
            .map(|row| row.split_once(" | ").unwrap().1.to_string())
            .collect();
        assert_eq!(found, expected);
    }
}

/// The characters of the answer's tokens are the answer, and windows cover the context, over real English and Chinese texts.
#[test]
fn real_answers_come_back_from_their_tokens() {
    let texts = sample("text/speeches").into_iter().take(60).chain(sample("text/tang-poems").into_iter().take(60));
    let documents: Vec<Value> = texts
        .enumerate()
        .map(|(n, row)| {
            let text = row["text"].as_str().unwrap();
            // Three words, or four characters of a poem.
            let (first, answer) = if text.is_ascii() || n < 60 {
                let words: Vec<&str> = text.split_whitespace().collect();
                let at = words[n * 7 % (words.len() - 3)];
                (at.as_ptr() as usize - text.as_ptr() as usize, at)
            } else {
                let line = text.lines().nth(n % text.lines().count()).unwrap();
                (line.as_ptr() as usize - text.as_ptr() as usize, &line[..12])
            };
            json!({"text": text, "question": row["title"], "answer": answer, "start": text[..first].chars().count()})
        })
        .collect();
    let learn = json!({"kind": "wordpiece", "vocabulary_size": 3000});
    let settings = json!({"layout": "answer", "model": "masked", "question": "question", "answer": "answer", "answer_start": "start",
        "sequence_length": 96, "question_length": 20, "stride": 24});
    let (_dir, artifact) = run(2, &[documents[..50].to_vec(), documents[50..].to_vec()], &learn, settings.clone()).unwrap();
    assert_eq!(count(&artifact, "documents_stored"), 120);
    let tokenizer = text::Tokenizer::load(&artifact.dir.with_file_name("tokenizer")).unwrap();
    let reader = reader(&artifact);
    let (mut context, mut answered, mut all) = (Vec::new(), 0, 0);
    for row in 0..reader.rows() {
        let document = &documents[u128::from_le_bytes(reader.id(row).unwrap()) as usize - 1];
        let text: Vec<char> = document["text"].as_str().unwrap().chars().collect();
        let tokens = tokens_of(&reader, row);
        all += tokens.len() as i64;
        let number = |name| if let Cell::Int32(number) = reader.value(row, name).unwrap() { number as usize } else { panic!("{name}") };
        let list = |name| if let Cell::Int32s(list) = reader.value(row, name).unwrap() { list } else { panic!("{name}") };
        let (starts, ends) = (list("starts"), list("ends"));
        if reader.value(row, "has_answer").unwrap() == Cell::Boolean(true) {
            let found: String = text[starts[number("start_token")] as usize..ends[number("end_token")] as usize].iter().collect();
            assert_eq!(found, document["answer"].as_str().unwrap());
            answered += 1;
        } else {
            assert_eq!((number("start_token"), number("end_token")), (0, 0));
        }
        // A window goes on where the one before ended, less what they share.
        let own: Vec<u32> = tokens.iter().zip(&starts).filter(|(_, start)| **start >= 0).map(|(token, _)| *token as u32).collect();
        let start = number("start");
        assert!(start == 0 || start == context.len() - 24);
        context.truncate(start);
        context.extend(own);
        if row + 1 == reader.rows() || reader.id(row + 1).unwrap() != reader.id(row).unwrap() {
            assert_eq!(std::mem::take(&mut context), tokenizer.encode(document["text"].as_str().unwrap()).unwrap());
        }
    }
    // Answers are shorter than the stride, so each is whole in one window at least.
    assert!(answered >= 120 && reader.rows() > 500, "{answered} of {}", reader.rows());
    assert_eq!(all, count(&artifact, "tokens_stored") + count(&artifact, "tokens_repeated"));
    let (_dir, again) = run(1, &[documents[..50].to_vec(), documents[50..].to_vec()], &learn, settings).unwrap();
    assert_eq!(again.manifest.fingerprint, artifact.manifest.fingerprint);
}
