//! Traditional and simplified Chinese, by OpenCC's tables of characters and phrases.

use std::borrow::Cow;
use std::sync::LazyLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

/// Chinese in simplified characters, phrase by phrase (OpenCC `t2s`); borrowed when nothing changes.
pub fn to_simplified(text: &str) -> Cow<'_, str> {
    static TO_SIMPLIFIED: LazyLock<OpenCC> = LazyLock::new(|| converter(BuiltinConfig::T2s));
    convert(text, &TO_SIMPLIFIED)
}

/// Chinese in traditional characters, phrase by phrase (OpenCC `s2t`, OpenCC's own standard); borrowed when nothing changes.
pub fn to_traditional(text: &str) -> Cow<'_, str> {
    static TO_TRADITIONAL: LazyLock<OpenCC> = LazyLock::new(|| converter(BuiltinConfig::S2t));
    convert(text, &TO_TRADITIONAL)
}

fn converter(config: BuiltinConfig) -> OpenCC {
    OpenCC::from_config(config).expect("the tables are part of the program")
}

/// Converts each stretch of Chinese alone, for the library takes as long for other text.
fn convert<'a>(text: &'a str, converter: &LazyLock<OpenCC>) -> Cow<'a, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut done = 0;
    let mut rest = text;
    while let Some(found) = rest.find(is_chinese) {
        let start = text.len() - rest.len() + found;
        let end = text[start..].find(|c| !is_chinese(c)).map_or(text.len(), |length| start + length);
        let stretch = &text[start..end];
        let converted = converter.convert(stretch);
        if converted != stretch {
            out.push_str(&text[done..start]);
            out.push_str(&converted);
            done = end;
        }
        rest = &text[end..];
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// What keys of the tables are made of: Han characters, and full-width commas within proverbs.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '〇' | '々' | '，' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn phrases_decide() {
        for (simplified, traditional) in [
            ("", ""),
            ("plain text, 123.", "plain text, 123."),
            ("我的头发在理发店发展", "我的頭髮在理髮店發展"),
            ("皇后在后面，干杯，干部，饼干", "皇后在後面，乾杯，幹部，餅乾"),
            ("GPU 加速 3 倍，“软件”优化。", "GPU 加速 3 倍，“軟件”優化。"),
            ("一只猫，只有一只", "一隻貓，只有一隻"),
        ] {
            assert_eq!(to_traditional(simplified), traditional);
            assert_eq!(to_simplified(traditional), simplified);
            assert!(matches!(to_simplified(simplified), Cow::Borrowed(_)));
        }
        // What is simplified stays, what is a word of both stays.
        assert_eq!(to_simplified("乾隆皇帝，乾坤"), "乾隆皇帝，乾坤");
        // OpenCC's tables are no projection: what one rare character becomes is itself the traditional form of another.
        assert_eq!((to_simplified("薴").as_ref(), to_simplified("苧").as_ref()), ("苧", "苎"));
    }

    proptest! {
        #[test]
        fn other_text_stays(text in "[a-z À-ž а-я，。가-힣]{0,30}") {
            prop_assert_eq!(to_simplified(&text), &*text);
            prop_assert_eq!(to_traditional(&text), &*text);
        }
    }
}
