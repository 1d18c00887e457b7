//! Which language a text is in, by the crate `whatlang`: trigram statistics of 70 languages, a quarter of a megabyte, nothing to download.
//!
//! Good for whole documents, weaker than fastText's lid.176 on single lines and between close relatives; for that there are model files.

use whatlang::Info;

/// How much of a text is looked at; more changes no verdict and costs time.
const MAX_BYTES: usize = 16 << 10;

/// The language as a code of ISO 639-1 (of ISO 639-3 where that has none), and how sure it is, from 0 to 1. `None` without letters.
pub fn language(text: &str) -> Option<(&'static str, f64)> {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    whatlang::detect(&text[..end]).map(|info: Info| (short_code(info.lang().code()), info.confidence()))
}

/// All codes that [`language`] can give, sorted.
pub fn language_codes() -> Vec<&'static str> {
    let mut codes: Vec<&str> = whatlang::Lang::all().iter().map(|lang| short_code(lang.code())).collect();
    codes.sort_unstable();
    codes
}

fn short_code(code: &'static str) -> &'static str {
    CODES.split_whitespace().find_map(|pair| pair.strip_prefix(code)?.strip_prefix('=')).unwrap_or(code)
}

/// ISO 639-3 and ISO 639-1 of the languages of `whatlang`; Mandarin stands for Chinese.
const CODES: &str = "epo=eo eng=en rus=ru cmn=zh spa=es por=pt ita=it ben=bn fra=fr deu=de ukr=uk kat=ka ara=ar hin=hi jpn=ja heb=he yid=yi pol=pl \
    amh=am jav=jv kor=ko nob=nb dan=da swe=sv fin=fi tur=tr nld=nl hun=hu ces=cs ell=el bul=bg bel=be mar=mr kan=kn ron=ro slv=sl hrv=hr srp=sr \
    mkd=mk lit=lt lav=lv est=et tam=ta vie=vi urd=ur tha=th guj=gu uzb=uz pan=pa aze=az ind=id tel=te pes=fa mal=ml ori=or mya=my nep=ne sin=si \
    khm=km tuk=tk aka=ak zul=zu sna=sn afr=af lat=la slk=sk cat=ca tgl=tl hye=hy cym=cy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short() {
        for (text, code) in [
            ("The quick brown fox jumps over the lazy dog and runs away from everyone.", "en"),
            ("今天天气很好，我们一起去公园散步吧。", "zh"),
            ("Der schnelle braune Fuchs springt über den faulen Hund und läuft davon.", "de"),
            ("Съешь же ещё этих мягких французских булок да выпей чаю.", "ru"),
        ] {
            assert_eq!(language(text).unwrap().0, code, "{text}");
        }
        assert_eq!(language("123 ..."), None);
        assert_eq!(language(""), None);
        assert!(language_codes().iter().all(|code| code.len() == 2), "{:?}", language_codes());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "中".repeat(MAX_BYTES);
        assert_eq!(language(&long).unwrap().0, "zh");
    }
}
