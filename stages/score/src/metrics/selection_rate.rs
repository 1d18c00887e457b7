//! How often a class is predicted. Between groups (slices), its ratio is demographic parity, as that of recall is equal opportunity
//! (Hardt et al., 2016): the table `gaps` has both.

use super::confusion::OfConfusion;
use super::{Measure, Metric, NO_ROWS, Options, Score, Start, ratio};

pub const METRIC: Metric = Metric {
    name: "selection-rate",
    about: "Share of rows predicted as a class, 0 to 1: of the positive or second of two classes, and of each.",
    default: false,
    start: Start::Labels(|options| start(options)),
};

fn start(options: &Options) -> Box<dyn Measure<super::Labels>> {
    let names = options.classes.clone();
    let positive = options.positive.or((names.len() == 2).then_some(1));
    OfConfusion::start(options, move |confusion| {
        let rate = |class: usize| ratio(confusion.predicted(class) as f64, confusion.rows(), NO_ROWS);
        let headline = match positive {
            Some(class) => Score::new(METRIC.name, rate(class), confusion.rows(), &format!("positive:{}", names[class])),
            None if confusion.rows() == 0 => Score::new(METRIC.name, Err(NO_ROWS.to_owned()), 0, ""),
            None => Score::new(METRIC.name, Err("no class is the positive one; set positive".to_owned()), confusion.rows(), ""),
        };
        let of_class = |class: usize| Score::new(METRIC.name, rate(class), confusion.rows(), "average:none").of_class(&names[class]);
        std::iter::once(headline).chain((0..names.len()).map(of_class)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::{LabelRow, Labels};
    use super::*;
    use crate::counts::scores_of;

    fn values(classes: &[&str], positive: Option<usize>) -> Vec<Result<f64, String>> {
        let options = Options { classes: classes.iter().map(|class| class.to_string()).collect(), positive, ..Options::default() };
        let rows = [(0, 0), (1, 0), (1, 1), (0, 0)].map(|(gold, prediction)| LabelRow { gold, prediction, probabilities: None });
        scores_of::<Labels>(start(&options).as_ref(), &rows).into_iter().map(|score| score.value).collect()
    }

    #[test]
    fn predictions_count_and_gold_does_not() {
        assert_eq!(values(&["no", "yes"], None), [Ok(0.25), Ok(0.75), Ok(0.25)]);
        assert_eq!(values(&["no", "yes"], Some(0))[0], Ok(0.75));
        assert_eq!(values(&["a", "b", "c"], None)[0], Err("no class is the positive one; set positive".to_owned()));
    }
}
