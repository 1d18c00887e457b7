//! Groups of rows and other systems: gaps between slices, perturbed inputs, contaminated items, and scores of a baseline beside the model's.

use super::*;

/// Writes artifacts for further ports below a folder.
type Writes = dyn Fn(&Context, &std::path::Path) -> Vec<(String, Artifact)>;

/// What `decontaminate` leaves: documents, marked or not, and items.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Found {
    documents: Vec<(String, Vec<Value>)>,
    items: Vec<(String, Vec<Value>)>,
}

impl Stage for Found {
    const NAME: &'static str = "decontaminate";
    const ABOUT: &'static str = "Marks items for tests.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn run(&self, ctx: &Context, _inputs: &Inputs, draft: &Draft) -> Result<()> {
        let tables = [("documents", &self.documents), ("items", &self.items)];
        let tables: Vec<(&str, RecordBatch)> =
            tables.into_iter().filter(|(_, columns)| !columns.is_empty()).map(|(name, columns)| (name, batch(columns))).collect();
        draft.count("records", tables[0].1.num_rows() as i64);
        for (name, rows) in &tables {
            draft.declare(name, rows.schema())?;
        }
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| tables.iter().try_for_each(|(name, rows)| part.write(name, rows)))
    }
}

/// A system: the fact `system`, if any, and its predictions of eight rows.
fn predictions(system: Option<&str>, predicted: [&str; 8]) -> Predictions {
    let mut facts = json!({"task": "classify", "classes": ["no", "yes"]});
    if let Some(system) = system {
        facts["system"] = json!(system);
    }
    let files = json!([[
        ["id", ["a", "b", "c", "d", "e", "f", "g", "h"]],
        ["gold", ["yes", "yes", "no", "no", "yes", "yes", "no", "no"]],
        ["prediction", predicted],
        ["group", ["x", "x", "x", "x", "y", "y", "y", "y"]],
    ]]);
    Predictions { facts, files: serde_json::from_value(files).unwrap() }
}

const OURS: [&str; 8] = ["yes", "yes", "yes", "no", "yes", "no", "no", "no"];
const OTHERS: [[&str; 8]; 2] = [["yes", "no", "no", "no", "yes", "yes", "no", "no"], ["no", "yes", "no", "no", "yes", "no", "no", "yes"]];

/// Scores predictions with what is written to further ports.
fn run_with(
    settings: Value,
    system: Option<&str>,
    more: impl Fn(&Context, &std::path::Path) -> Vec<(String, Artifact)>,
) -> Result<(tempfile::TempDir, Artifact)> {
    let (ctx, folder) = (context(2), tempfile::tempdir()?);
    let none = Inputs::new(vec![], vec![]);
    let ours = run_alone(&predictions(system, OURS), &ctx, &none, &folder.path().join("ours"))?;
    let mut inputs = vec![("predictions".to_owned(), ours)];
    inputs.extend(more(&ctx, folder.path()));
    let score: Score = serde_json::from_value(settings)?;
    let scores = run_alone(&score, &ctx, &Inputs::new(inputs, vec![]), &folder.path().join("scores"))?;
    Ok((folder, scores))
}

fn others(port: &'static str, systems: &'static [Option<&'static str>]) -> impl Fn(&Context, &std::path::Path) -> Vec<(String, Artifact)> {
    move |ctx, folder| {
        let other = |(number, system): (usize, &Option<&str>)| {
            let path = folder.join(format!("other{number}"));
            (port.to_owned(), run_alone(&predictions(*system, OTHERS[number]), ctx, &Inputs::new(vec![], vec![]), &path).unwrap())
        };
        systems.iter().enumerate().map(other).collect()
    }
}

#[test]
fn gaps_between_groups_are_parity_and_opportunity() {
    let settings = json!({"metrics": ["selection-rate", "recall", "precision"], "positive": "yes", "slices": ["group"]});
    let (_folder, scores) = run_with(settings, None, |_, _| vec![]).unwrap();
    let columns = ["system", "metric", "class", "lowest_group", "lowest", "highest_group", "highest", "gap", "ratio", "reason"];
    expect![[r#"
        +----------------+--------------------+-------+--------------+--------------------+---------------+--------------------+---------------------+--------------------+---------------------------------------------------+
        | system         | metric             | class | lowest_group | lowest             | highest_group | highest            | gap                 | ratio              | reason                                            |
        +----------------+--------------------+-------+--------------+--------------------+---------------+--------------------+---------------------+--------------------+---------------------------------------------------+
        | model          | precision          |       | x            | 0.6666666666666666 | y             | 1.0                | 0.33333333333333337 | 0.6666666666666666 |                                                   |
        | model          | precision-micro    |       | x            | 0.75               | x             | 0.75               | 0.0                 | 1.0                |                                                   |
        | model          | precision-macro    |       | x            | 0.8333333333333333 | x             | 0.8333333333333333 | 0.0                 | 1.0                |                                                   |
        | model          | precision-weighted |       | x            | 0.8333333333333333 | x             | 0.8333333333333333 | 0.0                 | 1.0                |                                                   |
        | model          | precision          | no    | y            | 0.6666666666666666 | x             | 1.0                | 0.33333333333333337 | 0.6666666666666666 |                                                   |
        | model          | precision          | yes   | x            | 0.6666666666666666 | y             | 1.0                | 0.33333333333333337 | 0.6666666666666666 |                                                   |
        | model          | recall             |       | y            | 0.5                | x             | 1.0                | 0.5                 | 0.5                |                                                   |
        | model          | recall-micro       |       | x            | 0.75               | x             | 0.75               | 0.0                 | 1.0                |                                                   |
        | model          | recall-macro       |       | x            | 0.75               | x             | 0.75               | 0.0                 | 1.0                |                                                   |
        | model          | recall-weighted    |       | x            | 0.75               | x             | 0.75               | 0.0                 | 1.0                |                                                   |
        | model          | recall             | no    | x            | 0.5                | y             | 1.0                | 0.5                 | 0.5                |                                                   |
        | model          | recall             | yes   | y            | 0.5                | x             | 1.0                | 0.5                 | 0.5                |                                                   |
        | model          | selection-rate     |       | y            | 0.25               | x             | 0.75               | 0.5                 | 0.3333333333333333 |                                                   |
        | model          | selection-rate     | no    | x            | 0.25               | y             | 0.75               | 0.5                 | 0.3333333333333333 |                                                   |
        | model          | selection-rate     | yes   | y            | 0.25               | x             | 0.75               | 0.5                 | 0.3333333333333333 |                                                   |
        | majority class | precision          |       |              |                    |               |                    |                     |                    | undefined for `x`: no row is predicted as `yes`   |
        | majority class | precision-micro    |       | x            | 0.5                | x             | 0.5                | 0.0                 | 1.0                |                                                   |
        | majority class | precision-macro    |       | x            | 0.25               | x             | 0.25               | 0.0                 | 1.0                |                                                   |
        | majority class | precision-weighted |       | x            | 0.25               | x             | 0.25               | 0.0                 | 1.0                |                                                   |
        | majority class | precision          | no    | x            | 0.5                | x             | 0.5                | 0.0                 | 1.0                |                                                   |
        | majority class | precision          | yes   |              |                    |               |                    |                     |                    | undefined for `x`: no row is predicted as `yes`   |
        | majority class | recall             |       | x            | 0.0                | x             | 0.0                | 0.0                 |                    | no ratio: the highest score is 0, or one is below |
        | majority class | recall-micro       |       | x            | 0.5                | x             | 0.5                | 0.0                 | 1.0                |                                                   |
        | majority class | recall-macro       |       | x            | 0.5                | x             | 0.5                | 0.0                 | 1.0                |                                                   |
        | majority class | recall-weighted    |       | x            | 0.5                | x             | 0.5                | 0.0                 | 1.0                |                                                   |
        | majority class | recall             | no    | x            | 1.0                | x             | 1.0                | 0.0                 | 1.0                |                                                   |
        | majority class | recall             | yes   | x            | 0.0                | x             | 0.0                | 0.0                 |                    | no ratio: the highest score is 0, or one is below |
        | majority class | selection-rate     |       | x            | 0.0                | x             | 0.0                | 0.0                 |                    | no ratio: the highest score is 0, or one is below |
        | majority class | selection-rate     | no    | x            | 1.0                | x             | 1.0                | 0.0                 | 1.0                |                                                   |
        | majority class | selection-rate     | yes   | x            | 0.0                | x             | 0.0                | 0.0                 |                    | no ratio: the highest score is 0, or one is below |
        +----------------+--------------------+-------+--------------+--------------------+---------------+--------------------+---------------------+--------------------+---------------------------------------------------+"#]].assert_eq(&show(&scores, "gaps", &columns));
}

#[test]
fn perturbed_inputs_have_drops_and_a_worst_case() {
    let settings = json!({"metrics": ["accuracy", "mcc"]});
    let (_folder, scores) = run_with(settings, None, others("perturbed", &[None, None])).unwrap();
    expect![[r#"
        +------------+----------+--------------------+--------------------+---------------------+---------------------------------------------------------------+
        | perturbed  | metric   | plain              | value              | drop                | reason                                                        |
        +------------+----------+--------------------+--------------------+---------------------+---------------------------------------------------------------+
        | predict    | accuracy | 0.75               | 0.875              | -0.125              |                                                               |
        | predict    | mcc      | 0.4999999999999999 | 0.7745966692414834 | -0.2745966692414835 |                                                               |
        | predict    | accuracy | 0.75               | 0.625              | 0.125               |                                                               |
        | predict    | mcc      | 0.4999999999999999 | 0.2581988897471611 | 0.2418011102528388  |                                                               |
        | worst case | accuracy | 0.75               | 0.375              | 0.375               |                                                               |
        | worst case | mcc      | 0.4999999999999999 |                    |                     | the score is no mean of rows, of which one could be the worst |
        +------------+----------+--------------------+--------------------+---------------------+---------------------------------------------------------------+"#]].assert_eq(&show(&scores, "robustness", &["perturbed", "metric", "plain", "value", "drop", "reason"]));
}

#[test]
fn scores_are_given_again_without_contaminated_items() {
    let found = |documents: Value, items: Value| {
        move |ctx: &Context, folder: &std::path::Path| {
            let found = Found {
                documents: serde_json::from_value(documents.clone()).unwrap(),
                items: serde_json::from_value(items.clone()).unwrap(),
            };
            vec![("contamination".to_owned(), run_alone(&found, ctx, &Inputs::new(vec![], vec![]), &folder.join("found")).unwrap())]
        }
    };
    let slices = |found: &Writes| {
        let (_folder, scores) = run_with(json!({"metrics": ["accuracy"], "slices": ["group"]}), None, found).unwrap();
        show(&scores, "slices", &["slice", "slice_value", "system", "value", "reason", "count"])
    };
    let items = json!([["item_id", ["c", "f", "a"]], ["contaminated", [true, true, false]]]);
    expect![[r#"
        +--------------+-------------+----------------+-------+--------+-------+
        | slice        | slice_value | system         | value | reason | count |
        +--------------+-------------+----------------+-------+--------+-------+
        | group        | x           | model          | 0.75  |        | 4     |
        | group        | x           | majority class | 0.5   |        | 4     |
        | group        | y           | model          | 0.75  |        | 4     |
        | group        | y           | majority class | 0.5   |        | 4     |
        | contaminated | false       | model          | 1.0   |        | 6     |
        | contaminated | false       | majority class | 0.5   |        | 6     |
        | contaminated | true        | model          | 0.0   |        | 2     |
        | contaminated | true        | majority class | 0.5   |        | 2     |
        +--------------+-------------+----------------+-------+--------+-------+"#]]
    .assert_eq(&slices(&found(json!([["id", ["z"]]]), items.clone())));
    // Documents that are marked themselves.
    let marked = json!([["id", ["c", "f", "a"]], ["contaminated", [true, true, false]]]);
    assert_eq!(slices(&found(marked, json!([]))), slices(&found(json!([["id", ["z"]]]), items)));

    let error = |documents: Value, items: Value| run_with(json!({}), None, found(documents, items)).unwrap_err().to_string();
    expect!["contamination: step `decontaminate` has neither the table `items` nor a column `contaminated`; name a step `decontaminate`"]
        .assert_eq(&error(json!([["id", ["z"]]]), json!([])));
    expect!["contamination: 1 contaminated items of step `decontaminate` have no id; let `mill run` make them again"]
        .assert_eq(&error(json!([["id", ["z"]]]), json!([["item_id", ["a", null]], ["contaminated", [false, true]]])));
}

#[test]
fn nothing_contaminated_leaves_the_score_and_a_reason() {
    let found = |ctx: &Context, folder: &std::path::Path| {
        let found = Found {
            documents: vec![("id".into(), vec![json!("z")])],
            items: vec![("item_id".into(), vec![json!("a")]), ("contaminated".into(), vec![json!(false)])],
        };
        vec![("contamination".to_owned(), run_alone(&found, ctx, &Inputs::new(vec![], vec![]), &folder.join("found")).unwrap())]
    };
    let (_folder, scores) = run_with(json!({"metrics": ["accuracy"]}), None, found).unwrap();
    expect![[r#"
        +--------------+-------------+----------------+-------+-------------------+-------+
        | slice        | slice_value | system         | value | reason            | count |
        +--------------+-------------+----------------+-------+-------------------+-------+
        | contaminated | false       | model          | 0.75  |                   | 8     |
        | contaminated | false       | majority class | 0.5   |                   | 8     |
        | contaminated | true        | model          |       | there are no rows | 0     |
        | contaminated | true        | majority class |       | there are no rows | 0     |
        +--------------+-------------+----------------+-------+-------------------+-------+"#]]
    .assert_eq(&show(&scores, "slices", &["slice", "slice_value", "system", "value", "reason", "count"]));
}

#[test]
fn a_baseline_stands_beside_the_model_under_its_name() {
    let settings = || json!({"metrics": ["accuracy"], "gate": {"accuracy": {"min": 0.7, "drop_max": 0.0}}});
    let (_folder, scores) = run_with(settings(), None, others("against", &[Some("tf-idf + logistic regression")])).unwrap();
    expect![[r#"
        +------------------------------+----------+-------+-------+
        | system                       | metric   | value | count |
        +------------------------------+----------+-------+-------+
        | model                        | accuracy | 0.75  | 8     |
        | majority class               | accuracy | 0.5   | 8     |
        | tf-idf + logistic regression | accuracy | 0.875 | 8     |
        +------------------------------+----------+-------+-------+"#]]
    .assert_eq(&show(&scores, "scores", &["system", "metric", "value", "count"]));
    assert!(scores.manifest.facts["failed_gates"].to_string().contains("must be at least 0.875 - 0"), "{:?}", scores.manifest.facts);
    // A model goes by its step, and a baseline that is scored by itself by its system.
    let (_folder, scores) = run_with(settings(), Some("lead"), others("against", &[None])).unwrap();
    expect![[r#"
        +----------------+----------+-------+-------+
        | system         | metric   | value | count |
        +----------------+----------+-------+-------+
        | lead           | accuracy | 0.75  | 8     |
        | majority class | accuracy | 0.5   | 8     |
        | predict        | accuracy | 0.875 | 8     |
        +----------------+----------+-------+-------+"#]]
    .assert_eq(&show(&scores, "scores", &["system", "metric", "value", "count"]));
}

#[test]
fn systems_of_one_name_go_by_their_steps() {
    let other = |system: Option<&'static str>, step: &'static str| {
        move |ctx: &Context, folder: &std::path::Path| {
            let path = folder.join("other");
            let mut other = run_alone(&predictions(system, OTHERS[0]), ctx, &Inputs::new(vec![], vec![]), &path).unwrap();
            other.manifest.step = step.to_owned();
            vec![("against".to_owned(), other)]
        }
    };
    let settings = || json!({"metrics": ["accuracy"], "slices": ["group"]});
    for (system, step) in [(Some("lead"), "lead_two"), (None, "model")] {
        let (_folder, scores) = run_with(settings(), system, other(system, step)).unwrap();
        let shown = show(&scores, "gaps", &["system", "groups", "lowest", "highest"]).replace(step, "OTHER");
        let rows: Vec<String> =
            shown.lines().filter(|line| !line.starts_with('+')).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "| system | groups | lowest | highest |",
            "| predict | 2 | 0.75 | 0.75 |",
            "| majority class | 2 | 0.5 | 0.5 |",
            "| OTHER | 2 | 0.75 | 1.0 |",
        ];
        assert_eq!(rows, expected);
    }
}

#[test]
fn slices_are_those_of_other_predictions_too() {
    let settings = json!({"metrics": ["accuracy"], "slices": ["group"]});
    let (_folder, scores) = run_with(settings, None, others("against", &[Some("lead")])).unwrap();
    expect![[r#"
        +-------------+----------------+-------+-------+
        | slice_value | system         | value | count |
        +-------------+----------------+-------+-------+
        | x           | model          | 0.75  | 4     |
        | x           | majority class | 0.5   | 4     |
        | x           | lead           | 0.75  | 4     |
        | y           | model          | 0.75  | 4     |
        | y           | majority class | 0.5   | 4     |
        | y           | lead           | 1.0   | 4     |
        +-------------+----------------+-------+-------+"#]]
    .assert_eq(&show(&scores, "slices", &["slice_value", "system", "value", "count"]));
}

#[test]
fn bleu_is_the_same_for_any_number_of_threads() {
    let words = ["the", "cat", "sat", "on", "a", "mat", "春", "眠", "不", "觉", "晓", ",", "3.5", "U.S."];
    let text = |row: usize, step: usize| (0..3 + row % 17).map(|i| words[(row * step + i * i) % words.len()]).collect::<Vec<_>>().join(" ");
    let column = |of: &dyn Fn(usize) -> String| json!((0..3000).map(of).collect::<Vec<_>>());
    let files = json!([[
        ["source", column(&|row| text(row, 1))],
        ["reference", column(&|row| text(row, 3))],
        ["prediction", column(&|row| text(row, 5))]
    ]]);
    let settings = json!({"metrics": ["bleu", "chrf", "ter"], "resamples": 50, "slices": []});
    let print = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(settings.clone(), json!({"task": "complete"}), files.clone()).unwrap().1.manifest.fingerprint)
    };
    let one = print(1);
    assert_eq!((&one, &one, &one), (&print(2), &print(3), &print(7)));
}
